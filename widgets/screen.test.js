import assert from "node:assert/strict";
import { test } from "node:test";

import { SCROLLBACK, Screen, columnsOf } from "./screen.js";
import { colour, keyText } from "./terminal.js";

const screen = (text, columns = 20, rows = 5) => {
  const made = new Screen(columns, rows);
  made.write(text);
  return made;
};

test("lines, returns, backspaces and tabs", () => {
  assert.equal(screen("one\r\ntwo").text, "one\ntwo");
  assert.equal(screen("12345\r67").text, "67345");
  assert.equal(screen("ab\b\bc").text, "cb");
  assert.equal(screen("a\tb").text, "a       b");
});

test("long lines wrap, and what scrolls away is kept", () => {
  const made = screen("a".repeat(25), 10, 3);
  assert.equal(made.text, "aaaaaaaaaa\naaaaaaaaaa\naaaaa");
  made.write("\r\nlast");
  assert.equal(made.past.length, 1);
  assert.equal(made.text.split("\n").at(-1), "last");
  made.write("\r\nmore".repeat(SCROLLBACK + 50));
  assert.equal(made.past.length, SCROLLBACK);
});

test("the cursor moves and lines are erased", () => {
  assert.equal(screen("abc\x1b[2Dx").text, "axc");
  assert.equal(screen("abc\x1b[1;1Hx").text, "xbc");
  assert.equal(screen("abcdef\x1b[3D\x1b[K").text, "abc");
  assert.equal(screen("abc\r\ndef\x1b[2J").text, "");
  assert.equal(screen("abc\x1b[999999999C!").text, "abc                !");
  assert.equal(screen("abcd\x1b[4D\x1b[2P").text, "cd");
  assert.equal(screen("cd\x1b[2D\x1b[2@").text, "  cd");
});

test("an editor's screen leaves the shell's as it was", () => {
  const made = screen("shell\x1b[?1049h\x1b[Heditor");
  assert.equal(made.text, "editor");
  made.write("\x1b[?1049l");
  assert.equal(made.text, "shell");
});

test("scroll regions keep the lines around them", () => {
  const made = screen("a\r\nb\r\nc\r\nd\r\ne\x1b[2;4r\x1b[4;1H\n");
  assert.equal(made.text, "a\nc\nd\n\ne");
});

test("colours are kept, by number or by value", () => {
  const made = screen("\x1b[31mred\x1b[0m\x1b[38;5;200mx\x1b[38;2;1;2;3my\x1b[999mz");
  const looks = made.stretches(made.lines[0]).map((part) => [part.text, part.look.ink]);
  assert.deepEqual(looks, [["red", 1], ["x", 200], ["y", "#010203"], ["z", "#010203"]]);
  assert.equal(colour("#010203", "own"), "#010203");
  assert.equal(colour("red;background:url(x)", "own"), "own");
  assert.equal(colour(196, "own"), "rgb(255 0 0)");
});

test("a sequence may come in pieces, and what never ends is dropped", () => {
  const made = screen("\x1b[3");
  made.write("1mred");
  assert.equal(made.text, "red");
  const endless = screen("");
  endless.write(`\x1b]0;${"x".repeat(10_000)}`);
  endless.write("after");
  assert.equal(endless.text, "after");
});

test("titles, links, clipboards and questions have no effect", () => {
  for (const text of [
    "\x1b]0;title\x07",
    "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
    "\x1b]52;c;aGFja2Vk\x07",
    "\x1bP+q544e\x1b\\",
    "\x1b[6n\x1b[c\x1b[>c\x1b[5n",
    "\x1b[?1000h\x1b[?9999h\x1b[21t",
  ]) {
    const made = screen(`${text}ok`);
    assert.ok(made.text.endsWith("ok"), JSON.stringify(text));
    assert.doesNotMatch(made.text, /title|javascript|aGFj|544e/);
  }
});

test("controls and marks of direction are no characters", () => {
  assert.equal(screen("a\u202eb\u200bc\u0007\u009bd").text, "abcd");
  assert.equal(columnsOf(0x4e2d), 2);
  assert.equal(screen("中x").lines[0][2].text, "x");
  assert.ok(screen(`e${"\u0301".repeat(100)}`).lines[0][0].text.length <= 8);
});

test("numbers beyond all bounds take no time", () => {
  const started = performance.now();
  screen("\x1b[99999999999999999999S\x1b[99999999999L\x1b[99999999999@\x1b[99999999999X".repeat(200));
  assert.ok(performance.now() - started < 1000);
});

test("a megabyte is drawn in good time", () => {
  const started = performance.now();
  screen("\x1b[32mok\x1b[0m some words and more of them\r\n".repeat(25_000), 80, 24);
  assert.ok(performance.now() - started < 3000);
});

test("keys are what shells expect", () => {
  const key = (name, more = {}) =>
    keyText({ key: name, ctrlKey: false, altKey: false, metaKey: false, shiftKey: false, ...more }, false);
  assert.equal(key("a"), "a");
  assert.equal(key("Enter"), "\r");
  assert.equal(key("Backspace"), "\x7f");
  assert.equal(key("ArrowUp"), "\x1b[A");
  assert.equal(key("c", { ctrlKey: true }), "\x03");
  assert.equal(key("d", { ctrlKey: true }), "\x04");
  assert.equal(key("b", { altKey: true }), "\x1bb");
  assert.equal(key("Tab", { shiftKey: true }), "\x1b[Z");
  assert.equal(key("Shift"), null);
  assert.equal(key("F5"), null);
  assert.equal(key("v", { metaKey: true }), null);
  assert.equal(key("é"), "é");
});
