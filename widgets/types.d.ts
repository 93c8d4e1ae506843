// What the browser's half needs to know of its surroundings: the model that anywidget hands over.

/** A signal of JupyterLab. */
export interface Signal {
  connect(slot: (sender: unknown, value: string) => void): unknown;
  disconnect(slot: (sender: unknown, value: string) => void): unknown;
}

/** The part of a manager of widgets that is used; where it is JupyterLab's, with the notebook. */
export interface WidgetManager {
  kernel?: { statusChanged?: Signal; isDisposed?: boolean };
  get_model?: (id: string) => Promise<any>;
  context?: { model?: { cells?: Iterable<{ outputs?: any }> } };
}

export interface Model {
  get(key: string): any;
  set(key: string, value: unknown): void;
  on(event: string, callback: (...values: any[]) => void): void;
  off(event?: string | null, callback?: ((...values: any[]) => void) | null): void;
  widget_manager?: WidgetManager;
  send(content: unknown, callbacks?: unknown, buffers?: (ArrayBuffer | ArrayBufferView)[]): void;
}

export interface Context {
  model: Model;
  el: HTMLElement;
}

/** A message of the kernel: a patch, a full state, a sign of life, or something of the panel's own. */
export interface Message {
  kind: string;
  now?: number;
  [key: string]: any;
}

export type State = Record<string, any>;

/** A change of a state: whole values, and for tables only the rows that changed. */
export interface Patch {
  base: number;
  version: number;
  now?: number;
  set?: State;
  merge?: Record<string, Record<string, unknown>>;
  drop?: Record<string, string[]>;
}
