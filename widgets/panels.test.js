// What panels say, and what holds for all their modules.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { consequences, short } from "./card.js";
import { QUESTIONS, costUntilExpiry, stopping, stretches, wantedCount, warning } from "./cluster.js";
import { choices } from "./dashboard.js";
import { costLine, emptiness } from "./market.js";
import { counts, money, times } from "./progress.js";

const folder = new URL(".", import.meta.url);
const modules = readdirSync(folder).filter((name) => name.endsWith(".js") && !name.endsWith(".test.js"));
const read = (name) => readFileSync(new URL(name, folder), "utf8");

test("a batch says how far it is and what it costs", () => {
  const state = { total: 50, done: 32, failed: 2, running: 4, retries: 1, cost: 0.0123, projected: 0.02, ended: null };
  assert.equal(counts(state), "32 of 50 items done · 4 running · 2 failed · 1 retry");
  assert.equal(counts({ ...state, total: null }), "32 items done · 4 running · 2 failed · 1 retry");
  assert.equal(money(state), "0.0123 GLM so far · about 0.0200 at the end");
  assert.equal(money({ ...state, ended: 1, limit: 0.5 }), "0.0123 GLM in all · limit 0.5000");
});

test("time goes on between two states, and stops at the end", () => {
  const state = { started: 0, ended: null, left: 40, now: 60_000 };
  assert.equal(times(state, 70_000), "1 min 10 s · about 30 s left");
  assert.equal(times({ ...state, ended: 65_000 }, 99_000), "took 1 min 5 s");
});

test("stopping names what it ends", () => {
  const running = { a: { kind: "job", name: "job 1" }, b: { kind: "cluster", name: "cluster 2" } };
  assert.match(consequences({ name: "default", running }), /This ends job 1, cluster 2\./);
  assert.match(consequences({ name: "default", running: {} }), /Nothing is running\./);
  assert.equal(short("0x1234567890abcdef1234567890abcdef12345678"), "0x12345678…345678");
});

test("more instances are asked about when they cost more than a tenth of what is left", () => {
  const state = { each: 0.1, expires: 3 * 3_600_000, left: 10 };
  assert.equal(costUntilExpiry(state, 2, 0), 0.6000000000000001);
  assert.equal(warning(state, 2, 0), null);
  assert.match(warning({ ...state, left: 1 }, 2, 0) ?? "", /Start 2 more instances\? .* 0\.6000 GLM until/);
  assert.equal(warning({ ...state, each: null }, 2, 0), null);
});

test("each question names what is ended, and what it costs", () => {
  const row = { placed: true, state: "running", hour: 0.15 };
  const instances = { a: { ...row, name: "sun-01" }, b: { ...row, name: "sun-01 (2)" }, c: { placed: false, state: "pending" } };
  const state = { instances, each: 0.2, expires: 3 * 3_600_000, left: 10 };
  assert.match(QUESTIONS.stop(state, "b", 0), /^Stop the instance on sun-01 \(2\)\? Whatever is on it is lost/);
  assert.match(QUESTIONS.stop(state, "c", 0), /^Stop the instance without a provider\? None is looked for/);
  assert.match(QUESTIONS.suspend(state, "a", 0), /goes on costing 0\.1500 GLM an hour until it is stopped or expires/);
  assert.match(
    QUESTIONS.restart(state, "a", 0),
    /^Stop the instance on sun-01 and start another one\? Whatever is on it is lost\. The new one costs 0\.2000 GLM an hour, 0\.6000 GLM until [^;]+; 10\.0000 GLM are left\.$/,
  );
  // what is over cannot be lost once more, and of what is not known nothing is said
  const gone = { instances: { a: { ...instances.a, state: "unresponsive" } }, each: null, expires: null, left: null };
  assert.equal(QUESTIONS.restart(gone, "a", 0), "Start another one in place of the instance on sun-01?");
  assert.match(stopping(state, ["b", "c"]), /^Stop 2 instances, sun-01 \(2\), one without a provider\? Whatever is on them/);
});

test("a number of instances is nothing but that", () => {
  assert.deepEqual(["0", " 12 ", "200"].map(wantedCount), [0, 12, 200]);
  assert.deepEqual(["", " ", "-1", "1.5", "1e2", "201", "two", "0x10"].map(wantedCount), Array(8).fill(null));
});

test("a timeline covers its width", () => {
  const parts = stretches([["pending", 0], ["running", 50], ["terminated", 100]], 0, 100);
  assert.deepEqual(parts.map((part) => [part.state, part.left, part.width]), [
    ["pending", 0, 50],
    ["running", 50, 50],
  ]);
});

test("a job's cost is told from the offers that have one", () => {
  assert.equal(costLine([NaN]), "No offer that is shown has a price for it.");
  assert.match(costLine([0.1, NaN, 0.3]), /0\.1000 GLM on the cheapest, 0\.1000 in the middle, 0\.3000/);
});

test("an empty table says why it is empty", () => {
  assert.equal(emptiness(3, 12, false), "");
  assert.match(emptiness(0, 0, false), /^No offers yet\. They appear here/);
  assert.match(emptiness(0, 0, true), /^No offers were seen/);
  assert.equal(emptiness(0, 1200, true), "None of 1,200 offers meets the filters.");
  assert.equal(emptiness(0, 1, false), "The only offer does not meet the filters.");
});

test("a choice stands until the kernel has heard of it, and not for ever", () => {
  const chosen = choices();
  assert.equal(chosen.shown("costs", true, 0), true);
  chosen.choose("costs", false, 0);
  // states that were on their way are older than the choice
  assert.equal(chosen.shown("costs", true, 1000), false);
  assert.equal(chosen.shown("tasks", true, 1000), true);
  assert.equal(chosen.shown("costs", false, 2000), false);
  // confirmed: from now on the kernel says what is shown
  assert.equal(chosen.shown("costs", true, 3000), true);
  chosen.choose("tasks", false, 0);
  assert.equal(chosen.shown("tasks", true, 60_000), true);
});

test("text is never read as HTML, and no code is made of text", () => {
  for (const name of modules) {
    assert.doesNotMatch(
      read(name),
      new RegExp(
        "innerHTML|outerHTML|insertAdjacentHTML|document\\.write|createContextualFragment|DOMParser|srcdoc|javascript:" +
          "|\\beval\\b|\\bFunction\\(|setAttribute\\(\"on|(setTimeout|setInterval)\\(\\s*[\"'`]",
      ),
      name,
    );
  }
});

test("nothing is fetched from anywhere", () => {
  for (const name of modules) {
    // plotly runs from what the kernel has sent
    const source = name === "plotly.js" ? read(name).replace("(await import(url)).default", "") : read(name);
    assert.doesNotMatch(source, /https?:\/\/|\bfetch\(|import\(|XMLHttpRequest/, name);
  }
  assert.match(read("plotly.js"), /const url = URL\.createObjectURL\(/);
});

test("modules keep the rules by which they are put together", () => {
  for (const name of modules) {
    const source = read(name);
    for (const line of source.split("\n")) {
      if (/^\s*import\b/.test(line)) assert.match(line, /^import \{[^}]*\} from "\.\/[\w-]+\.js";$/, `${name}: ${line}`);
      if (/^\s*export\b/.test(line)) {
        assert.match(line, /^export (default\b|(async )?(function|const|let|class)\b)/, `${name}: ${line}`);
      }
    }
  }
  const declared = (name) =>
    [...read(name).matchAll(/^(?:export )?(?:async )?(?:function|const|let|class) (\w+)/gm)].map((match) => match[1]);
  const parts = (name, seen = new Set()) => {
    if (seen.has(name)) return seen;
    seen.add(name);
    for (const [, other] of read(name).matchAll(/from "\.\/([\w-]+\.js)"/g)) parts(other, seen);
    return seen;
  };
  for (const name of modules) {
    const names = [...parts(name)].flatMap(declared);
    assert.deepEqual(names.filter((one, index) => names.indexOf(one) !== index), [], `names of ${name} clash`);
  }
});
