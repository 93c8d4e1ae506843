import assert from "node:assert/strict";
import { test } from "node:test";

import { amount, counted, duration } from "./format.js";

test("amounts have four decimals, and more where they are small", () => {
  assert.equal(amount(1.25), "1.2500");
  assert.equal(amount(0.0000123), "0.000012");
  assert.equal(amount(0), "0");
  assert.equal(amount(null), "–");
  assert.equal(amount(NaN), "–");
  assert.equal(amount(-0.00005), "-0.000050");
});

test("durations are told in their two largest units", () => {
  assert.equal(duration(0.42), "0.4 s");
  assert.equal(duration(75), "1 min 15 s");
  assert.equal(duration(7262), "2 h 1 min");
  assert.equal(duration(3600), "1 h");
  assert.equal(duration(90000), "1 d 1 h");
  assert.equal(duration(59.7), "1 min");
  assert.equal(duration(Infinity), "–");
});

test("counts agree with their nouns", () => {
  assert.equal(counted(1, "item"), "1 item");
  assert.equal(counted(0, "item"), "0 items");
  assert.equal(counted(12000, "offer"), "12,000 offers");
});
