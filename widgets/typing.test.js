import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Typing } from "./typing.js";

test("keys go one message at a time, in order", () => {
  /** @type {string[]} */
  const sent = [];
  const typing = new Typing((message) => sent.push(message.text), "a page");
  for (const key of "print") typing.type(key);
  assert.deepEqual(sent, ["p"]);
  typing.taken();
  assert.deepEqual(sent, ["p", "rint"]);
  typing.taken();
  typing.type("!");
  assert.deepEqual(sent, ["p", "rint", "!"]);
  typing.taken();
});

test("what is lost on the way holds nothing up for long", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  /** @type {string[]} */
  const sent = [];
  const typing = new Typing((message) => sent.push(message.text), "a page");
  typing.type("a");
  typing.type("b");
  mock.timers.tick(1999);
  assert.deepEqual(sent, ["a"]);
  mock.timers.tick(1);
  assert.deepEqual(sent, ["a", "b"]);
  mock.timers.reset();
});
