import assert from "node:assert/strict";
import { test } from "node:test";

import { SILENCE, patched, storeOf } from "./store.js";

/** A model as anywidget gives one, without a kernel behind it. */
function model(state) {
  const values = { state };
  const listeners = {};
  const sent = [];
  return {
    sent,
    get: (key) => values[key],
    set(key, value) {
      values[key] = value;
    },
    on(event, callback) {
      (listeners[event] ??= []).push(callback);
    },
    off() {},
    send: (content) => sent.push(content),
    receive(message) {
      for (const callback of listeners["msg:custom"] ?? []) callback(message, []);
    },
  };
}

test("a patch changes values and rows, and leaves the old state alone", () => {
  const before = { version: 3, name: "a", rows: { x: 1, y: 2 }, other: { z: 1 } };
  const after = patched(before, {
    base: 3,
    version: 4,
    set: { name: "b" },
    merge: { rows: { x: 5 } },
    drop: { rows: ["y"] },
  });
  assert.deepEqual(after, { version: 4, name: "b", rows: { x: 5 }, other: { z: 1 } });
  assert.deepEqual(before.rows, { x: 1, y: 2 });
});

test("a state is as old as its last change", () => {
  const one = model({ version: 0, now: 1000, left: 60 });
  const store = storeOf(one);
  one.receive({ kind: "patch", base: 0, version: 1, now: 31_000, set: { left: 40 } });
  assert.deepEqual(store.state(), { version: 1, now: 31_000, left: 40 });
});

test("patches are applied in order; a gap is asked about", () => {
  const one = model({ version: 0, now: Date.now(), n: 0 });
  const store = storeOf(one);
  one.receive({ kind: "patch", base: 0, version: 1, set: { n: 1 } });
  assert.equal(store.state().n, 1);
  one.receive({ kind: "patch", base: 4, version: 5, set: { n: 5 } });
  assert.equal(store.state().n, 1);
  assert.deepEqual(one.sent, [{ kind: "hello" }]);
  one.receive({ kind: "patch", base: 5, version: 6, set: { n: 6 } });
  assert.equal(one.sent.length, 1, "it is asked once a second at most");
  one.receive({ kind: "full", state: { version: 6, n: 6 } });
  assert.equal(store.state().n, 6);
});

test("a sign of life tells of a patch that was lost", () => {
  const one = model({ version: 3, now: Date.now() });
  storeOf(one);
  one.receive({ kind: "beat", version: 3, now: Date.now() });
  assert.deepEqual(one.sent, []);
  one.receive({ kind: "beat", version: 4, now: Date.now() });
  assert.deepEqual(one.sent, [{ kind: "hello" }]);
});

test("a kernel that has died makes no error of a button", () => {
  const one = model({ version: 0, now: Date.now() });
  one.send = () => {
    throw new Error("Cannot send");
  };
  storeOf(one).send({ kind: "do", action: "stop", args: {} });
});

test("a second view does not apply a patch again", () => {
  const one = model({ version: 0, now: Date.now(), rows: {} });
  storeOf(one);
  storeOf({ ...one });
  one.receive({ kind: "patch", base: 0, version: 1, merge: { rows: { a: 1 } } });
  assert.deepEqual(one.get("state").rows, { a: 1 });
  assert.deepEqual(one.sent, []);
});

test("the clock stands still while the kernel is gone, and goes on with it", (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const one = model({ version: 0, now: 5_000_000 });
  const store = storeOf(one);
  context.mock.timers.tick(4000);
  assert.equal(store.gone(), "");
  assert.equal(store.now(), 5_004_000);
  one.receive({ kind: "beat", version: 0, now: 5_004_000 });
  context.mock.timers.tick(SILENCE + 1);
  assert.equal(store.gone(), "silent");
  assert.equal(store.now(), 5_004_000, "the time of its last word");
  one.receive({ kind: "beat", version: 0, now: 5_030_000 });
  assert.equal(store.gone(), "");
  assert.equal(store.now(), 5_030_000);
  store.cut();
  context.mock.timers.tick(4000);
  assert.equal(store.gone(), "cut");
  assert.equal(store.now(), 5_030_000);
});

test("what has ended says nothing more, and is not missed", (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const store = storeOf(model({ version: 0, now: 1_000_000, final: true }));
  context.mock.timers.tick(10 * SILENCE);
  assert.equal(store.gone(), "");
});
