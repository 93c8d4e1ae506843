// A shell on an instance: keys go there, what it writes is drawn as characters and can do nothing else.

import { h, put, write } from "./dom.js";
import { heedEnd } from "./outputs.js";
import { button, entry, panel } from "./panel.js";
import { Screen } from "./screen.js";
import { Typing } from "./typing.js";

/** @import { Context } from "./types.d.ts" */

/** @type {Record<string, string>} */
const KEYS = {
  Enter: "\r",
  Backspace: "\x7f",
  Tab: "\t",
  Escape: "\x1b",
  Delete: "\x1b[3~",
  Insert: "\x1b[2~",
  PageUp: "\x1b[5~",
  PageDown: "\x1b[6~",
};
/** @type {Record<string, string>} */
const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };

/**
 * What a key is for a shell; null if it is none of its keys.
 * @param {{ key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean, shiftKey: boolean }} event
 * @param {boolean} application
 * @returns {string | null}
 */
export function keyText(event, application) {
  const { key, ctrlKey, altKey, metaKey } = event;
  if (metaKey) return null;
  if (key in ARROWS) return `\x1b${application && !ctrlKey ? "O" : "["}${ctrlKey ? "1;5" : ""}${ARROWS[key]}`;
  if (key === "Tab" && event.shiftKey) return "\x1b[Z";
  if (key in KEYS) return KEYS[key];
  if ([...key].length !== 1) return null;
  if (ctrlKey && !altKey) {
    const code = key.toUpperCase().charCodeAt(0);
    if (code >= 64 && code < 96) return String.fromCharCode(code - 64);
    return key === " " ? "\0" : null;
  }
  return altKey && !ctrlKey ? `\x1b${key}` : key;
}

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  return panel(context, "terminal", (frame) => {
    const { store } = frame;
    const screen = new Screen(80, 24);
    let decoder = new TextDecoder();
    const area = h("div", {
      class: "gnb-screen",
      role: "textbox",
      tabindex: "0",
      "aria-multiline": "true",
      "aria-label": "Terminal. Control and right bracket leaves it.",
    });
    const ruler = h("span", { class: "gnb-ruler", "aria-hidden": "true" }, "0".repeat(10));
    const line = h("input", { type: "text", spellcheck: "false", autocomplete: "off", "aria-label": "Command line" });
    const form = entry(
      line,
      "Run",
      () => {
        store.send({ kind: "line", text: line.value });
        type("");
        place = -1;
      },
      { hidden: true },
    );
    const type = frame.draft("line", line);
    let place = -1;
    line.addEventListener("keydown", (event) => {
      const history = store.state().history;
      if (event.key === "c" && event.ctrlKey && line.selectionStart === line.selectionEnd) frame.act("interrupt");
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      place = Math.min(Math.max(place + (event.key === "ArrowUp" ? 1 : -1), -1), history.length - 1);
      type(place < 0 ? "" : history[history.length - 1 - place]);
    });
    const ended = h("p", { class: "gnb-ended", role: "status", hidden: true });
    const hint = h("p", { class: "gnb-muted gnb-hint" });
    const interrupt = button("Interrupt", () => frame.act("interrupt"));
    const close = button("Close", () => frame.act("close"));
    const reopen = button("Open again", () => frame.act("reopen"));
    frame.tools.append(interrupt, close, reopen);
    frame.body.append(h("div", { class: "gnb-case" }, ruler, area), form, ended, hint);

    const typing = new Typing((message) => store.send(message), crypto.getRandomValues(new Uint32Array(2)).join("-"));
    const keys = (/** @type {string} */ text) => typing.type(text);
    const live = () => !store.state().ended && !store.gone();
    area.addEventListener("keydown", (event) => {
      if (!live()) return;
      if (store.state().mode === "lines" && [...event.key].length === 1 && !event.ctrlKey && !event.metaKey) {
        // who types where the text appears means the line below it
        line.focus();
        return;
      }
      if (store.state().mode !== "keys") return;
      if (event.ctrlKey && event.key === "]") {
        // the way out for people without a mouse
        event.preventDefault();
        interrupt.focus();
        return;
      }
      const selected = String(document.getSelection() ?? "");
      if (event.ctrlKey && (event.key === "v" || (event.key === "c" && selected))) return;
      const text = keyText(event, screen.application);
      if (text == null) return;
      event.preventDefault();
      event.stopPropagation();
      keys(text);
    });
    area.addEventListener("paste", (event) => {
      if (store.state().mode !== "keys" || !live()) return;
      event.preventDefault();
      const text = (event.clipboardData?.getData("text/plain") ?? "").replaceAll(/\r?\n/g, "\r");
      // what is pasted must not end the brackets that say that it was pasted
      keys(screen.bracketed ? `\x1b[200~${text.replaceAll("\x1b", "")}\x1b[201~` : text);
    });

    let drawn = 0;
    const draw = () => {
      drawn = 0;
      const low = area.scrollHeight - area.scrollTop - area.clientHeight < 40;
      const row = (/** @type {any[]} */ cells, /** @type {number} */ cursor) => {
        const node = h("div");
        for (const part of screen.stretches(cells, cursor)) {
          const span = h("span", {}, part.text);
          const { look } = part;
          const [ink, paper] = look.turned ? [look.paper, look.ink] : [look.ink, look.paper];
          if (ink !== -1 || look.turned) span.style.color = colour(ink, "var(--gnb-bg)");
          if (paper !== -1 || look.turned) span.style.background = colour(paper, "var(--gnb-fg)");
          if (look.bold) span.style.fontWeight = "700";
          if (look.dim) span.style.color = "var(--gnb-muted)";
          if (look.under) span.style.textDecoration = "underline";
          if (part.cursor) put(span, "class", "gnb-cursor");
          node.append(span);
        }
        if (!node.firstChild) node.append("\u200b");
        return node;
      };
      const cursor = screen.cursorShown && live() && store.state().mode === "keys";
      let last = screen.lines.length;
      if (!screen.main) while (last > screen.y + 1 && !screen.lines[last - 1].length) last--;
      area.replaceChildren(
        ...screen.past.map((cells) => row(cells, -1)),
        ...screen.lines.slice(0, last).map((cells, index) => row(cells, cursor && index === screen.y ? screen.x : -1)),
      );
      if (low) area.scrollTop = area.scrollHeight;
    };
    const soon = () => {
      drawn ||= requestAnimationFrame(draw);
    };

    let size = "";
    const measure = new ResizeObserver(() => {
      const wide = ruler.getBoundingClientRect().width / 10;
      const high = ruler.getBoundingClientRect().height;
      if (!wide || !high) return;
      const columns = Math.max(20, Math.floor((area.clientWidth - 20) / wide));
      const rows = Math.max(6, Math.floor((area.clientHeight - 12) / high));
      screen.resize(columns, rows);
      if (size !== `${columns}x${rows}`) {
        size = `${columns}x${rows}`;
        store.send({ kind: "size", columns, rows });
        soon();
      }
    });
    measure.observe(area);
    const want = () => store.send({ kind: "want" });
    want();
    let looks = "";

    return {
      wake: want,
      message(message, buffers) {
        if (message.kind === "typed" && message.page === typing.page) typing.taken();
        if (message.kind !== "output") return;
        if (message.again) {
          screen.reset();
          decoder = new TextDecoder();
        }
        screen.write(decoder.decode(buffers[0], { stream: true }));
        soon();
      },
      update(state) {
        const over = state.ended != null;
        frame.title(`Terminal on ${state.title}${over ? " · ended" : ""}`, over ? "■" : "❯");
        form.hidden = state.mode !== "lines";
        for (const control of form.querySelectorAll("input, button")) {
          /** @type {HTMLInputElement | HTMLButtonElement} */ (control).disabled = over;
        }
        put(area, "aria-readonly", over ? "true" : null);
        ended.hidden = !over;
        write(ended, state.ended ?? "");
        interrupt.hidden = over;
        close.hidden = over;
        reopen.hidden = !over || state.lost || state.final;
        put(area, "aria-busy", state.running ? "true" : null);
        write(
          hint,
          over
            ? ""
            : state.mode === "keys"
              ? "Click or tab into the terminal to type. Control and ] leaves it."
              : state.mode === "lines"
                ? "Each line is a command of its own. Arrow keys go through earlier ones."
                : "Connecting …",
        );
        // what was marked with the mouse would be marked no longer
        const now = `${state.mode} ${over} ${frame.root.getAttribute("data-theme")}`;
        if (now !== looks) soon();
        looks = now;
      },
      close() {
        measure.disconnect();
        cancelAnimationFrame(drawn);
      },
    };
  });
}

/**
 * A colour for the page.
 * @param {number | string} value
 * @param {string} own What stands for the page's own colour.
 * @returns {string}
 */
export function colour(value, own) {
  if (typeof value === "string") return /^#[0-9a-f]{6}$/.test(value) ? value : own;
  if (value < 0) return own;
  if (value < 16) return `var(--gnb-ansi-${value})`;
  if (value >= 232) {
    const grey = 8 + 10 * (value - 232);
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const part = (/** @type {number} */ n) => (n ? 55 + 40 * n : 0);
  const index = value - 16;
  return `rgb(${part(Math.floor(index / 36))} ${part(Math.floor(index / 6) % 6)} ${part(index % 6)})`;
}

export default { initialize: heedEnd, render };
