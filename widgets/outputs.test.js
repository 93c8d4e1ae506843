import assert from "node:assert/strict";
import { test } from "node:test";

import { heedEnd } from "./outputs.js";

const VIEW = "application/vnd.jupyter.widget-view+json";

/** A notebook's outputs as JupyterLab gives them; what it really does with them is tested in a browser. */
function notebook(...datas) {
  const outputs = {
    values: datas.map((data) => ({ data })),
    replaced: [],
    get length() {
      return this.values.length;
    },
    get(n) {
      return this.values[n];
    },
    set(n, value) {
      this.replaced.push(n);
      this.values[n] = value;
    },
  };
  return { outputs, manager: { context: { model: { cells: [{}, { outputs }] } } } };
}

/** A model that can be sent messages. */
function model(state, manager) {
  const sent = [];
  let hear = (/** @type {any} */ _) => {};
  return {
    sent,
    widget_manager: manager,
    get: () => state,
    on: (_, callback) => (hear = callback),
    send: (message) => sent.push(message),
    receive: (message) => hear(message),
  };
}

test("at the end a panel's outputs are replaced, once, and no others", () => {
  const { outputs, manager } = notebook(
    { [VIEW]: { model_id: "a" }, "text/html": "old" },
    { [VIEW]: { model_id: "b" }, "text/html": "old" },
    { "text/plain": "1" },
  );
  const panel = model({ version: 4 }, manager);
  heedEnd({ model: panel });
  assert.deepEqual(panel.sent, []);
  // a batch that can be tried again keeps its view
  const live = { [VIEW]: { model_id: "a" }, "text/html": "end" };
  for (let n = 0; n < 2; n++) panel.receive({ kind: "last", views: ["a"], data: live });
  assert.deepEqual(outputs.replaced, [0]);
  // until the session is over, be that at the same time
  for (let n = 0; n < 2; n++) panel.receive({ kind: "last", views: ["a"], data: { "text/html": "end" } });
  assert.deepEqual(outputs.replaced, [0, 0]);
  assert.deepEqual(outputs.get(0), { output_type: "display_data", data: { "text/html": "end" }, metadata: {} });
});

test("a page that finds a panel ended asks for what is left of it", () => {
  const panel = model({ version: 4, final: true }, undefined);
  heedEnd({ model: panel });
  assert.deepEqual(panel.sent, [{ kind: "hello", version: 4 }]);
  // elsewhere than in JupyterLab there is no notebook to be had
  panel.receive({ kind: "last", views: ["a"], data: {} });
});
