// The state of a panel in the browser: the kernel sends what has changed, and the model keeps it for all views.

import { reconnect, tell } from "./delivery.js";

/** @import { Message, Model, Patch, State } from "./types.d.ts" */

/** Without a sign of life from the kernel for so long, a panel says so; in milliseconds. */
export const SILENCE = 16_000;

/** After so long without one it looks whether the messages get lost on their way; in milliseconds. */
const DOUBT = 8000;

/**
 * The state after a change; neither of the two is touched.
 * @param {State} state
 * @param {Patch} patch
 * @returns {State}
 */
export function patched(state, patch) {
  /** @type {State} */
  const next = { ...state, ...patch.set, version: patch.version };
  // what is reckoned from a moment, such as the time left, is reckoned from this one
  if (patch.now) next.now = patch.now;
  for (const [table, rows] of Object.entries(patch.merge ?? {})) next[table] = { ...next[table], ...rows };
  for (const [table, ids] of Object.entries(patch.drop ?? {})) {
    next[table] = { ...next[table] };
    for (const id of ids) delete next[table][id];
  }
  return next;
}

/**
 * @typedef {object} Store
 * @property {() => State} state
 * @property {() => number} now The kernel's clock, in milliseconds since 1970; it stands still while the kernel is gone.
 * @property {() => "" | "cut" | "silent"} gone Whether the kernel has ended, or nothing was heard of it for long.
 * @property {() => void} cut Note that the kernel has ended: another one knows nothing of this model.
 * @property {() => void} check Do something about it, if nothing was heard for long.
 * @property {(message: Message, buffers?: ArrayBufferView[]) => void} send
 * @property {(listener: (message: Message | null, buffers: DataView[]) => void) => () => void} listen Messages; null
 *   when those that came so far may have been lost.
 */

/** @type {WeakMap<Model, Store>} */
const stores = new WeakMap();

/**
 * The store of a model. Each view has one of its own, since each is handed the model anew; the first one that
 * hears of a change makes it.
 * @param {Model} model
 * @returns {Store}
 */
export function storeOf(model) {
  const known = stores.get(model);
  if (known) return known;
  /** @type {Set<(message: Message | null, buffers: DataView[]) => void>} */
  const listeners = new Set();
  let heard = Date.now();
  let ahead = (model.get("state")?.now ?? Date.now()) - Date.now();
  let asked = 0;
  let over = false;
  let doubted = false;
  /** @type {Store} */
  const store = {
    state: () => model.get("state"),
    now: () => (store.gone() ? heard : Date.now()) + ahead,
    gone() {
      if (over) return "cut";
      // what has ended says nothing more
      return Date.now() - heard > SILENCE && !store.state()?.final ? "silent" : "";
    },
    cut() {
      over = true;
    },
    check() {
      if (doubted || Date.now() - heard < DOUBT) return;
      doubted = true;
      reconnect(model).then(
        (done) => {
          if (!done) return;
          store.send({ kind: "hello" });
          for (const listener of listeners) listener(null, []);
        },
        () => {},
      );
    },
    send: (message, buffers) => tell(model, message, buffers),
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  /** @param {Message} message */
  const catchUp = (message) => {
    if (!(message.version > store.state().version) || heard - asked <= 1000) return;
    // something was lost, for example while the page was reloaded
    asked = heard;
    store.send({ kind: "hello" });
  };
  model.on("msg:custom", (/** @type {Message} */ message, /** @type {DataView[]} */ buffers = []) => {
    heard = Date.now();
    doubted = false;
    if (message.now) ahead = message.now - heard;
    if (message.kind === "patch") {
      if (message.base === store.state().version) {
        model.set("state", patched(store.state(), /** @type {any} */ (message)));
      } else catchUp(message);
    } else if (message.kind === "beat") {
      catchUp(message);
    } else if (message.kind === "full") {
      model.set("state", message.state);
    }
    for (const listener of listeners) listener(message, buffers);
  });
  stores.set(model, store);
  return store;
}
