// The outputs of a notebook in which a panel is: at its end they are replaced, so that what is saved shows the end.
//
// The kernel replaces them by their display ids. JupyterLab knows only those that this page has seen made: when the
// page has been loaded again, or was not there, nothing would come of it. So the panel does it here, in the same way.

import { tell } from "./delivery.js";

/** @import { Context, Message, WidgetManager } from "./types.d.ts" */

const VIEW = "application/vnd.jupyter.widget-view+json";

/**
 * Replace the outputs that hold one of some views by another output; those that hold it already stay.
 * @param {WidgetManager | undefined} manager
 * @param {string[]} views Ids of the models that they show.
 * @param {Record<string, any>} data
 */
export function replaceOutputs(manager, views, data) {
  for (const { outputs } of manager?.context?.model?.cells ?? []) {
    for (let n = 0; n < (outputs?.length ?? 0); n++) {
      const old = outputs.get(n).data;
      const view = old[VIEW]?.model_id;
      if (!views.includes(view)) continue;
      if (view === data[VIEW]?.model_id && old["text/html"] === data["text/html"]) continue;
      outputs.set(n, { output_type: "display_data", data, metadata: {} });
    }
  }
}

/**
 * Replace a panel's outputs at its end; where that was while nobody looked, do it now.
 * @param {Context} context
 */
export function heedEnd({ model }) {
  model.on("msg:custom", (/** @type {Message} */ message) => {
    if (message.kind === "last") replaceOutputs(model.widget_manager, message.views, message.data);
  });
  const state = model.get("state");
  if (state.final) tell(model, { kind: "hello", version: state.version });
}
