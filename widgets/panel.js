// The frame that every panel has: a heading, a place for errors and questions, and a word when the kernel is gone.

import { h, keyed, put, write } from "./dom.js";
import { focusOf } from "./focus.js";
import { clockTime } from "./format.js";
import { storeOf } from "./store.js";

/** @import { Context, Message, State } from "./types.d.ts" */
/** @import { Store } from "./store.js" */

/** The words of screen readers change at most that often, in milliseconds. */
const SPEAK = 4000;

/**
 * What the person has opened or typed, by panel: an output that is replaced, as at the end of a batch, is another
 * view of the same panel.
 * @type {Map<string, Map<string, any>>}
 */
const kept = new Map();

/**
 * @typedef {object} Frame
 * @property {Store} store
 * @property {HTMLElement} root
 * @property {HTMLElement} body Where the panel's own elements go.
 * @property {HTMLElement} tools Where its buttons go.
 * @property {(name: string, args?: Record<string, unknown>) => void} act Ask the kernel to do something.
 * @property {(question: string, yes: string, action: () => void) => void} ask Ask the person first.
 * @property {(name: string, details: HTMLDetailsElement) => HTMLDetailsElement} keep What the person has opened stays
 *   open when the output is replaced.
 * @property {(name: string, input: HTMLInputElement) => (text: string) => void} draft What the person has typed stays,
 *   too; returns what puts another text in its place.
 * @property {(node: Element) => boolean} focused Whether the focus is in an element.
 * @property {(text: string) => void} say Tell it to screen readers.
 * @property {(text: string, mark?: string) => void} title
 */

/**
 * @typedef {object} Parts
 * @property {(state: State) => void} update
 * @property {(message: Message, buffers: DataView[]) => void} [message]
 * @property {() => void} [wake] Messages got lost on their way: ask again for what is no state.
 * @property {() => void} [tick]
 * @property {() => void} [close]
 */

/** @type {Map<string, Uint8ClampedArray>} */
const known = new Map();

/**
 * A colour of the page as red, green, blue and alpha, however the page has written it: `rgb(…)`, `color(srgb …)`,
 * `oklch(…)`.
 * @param {string} colour
 * @returns {Uint8ClampedArray}
 */
function channels(colour) {
  let found = known.get(colour);
  if (!found) {
    const pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    found = pen.getImageData(0, 0, 1, 1).data;
    known.set(colour, found);
  }
  return found;
}

/**
 * What an element is in, which may be another document's shadow, as in marimo.
 * @param {Element} node
 * @returns {Element | null}
 */
function above(node) {
  const root = node.getRootNode();
  return node.parentElement ?? (root instanceof ShadowRoot ? root.host : null);
}

/**
 * Whether what is behind an element is dark.
 * @param {Element} el
 * @returns {boolean}
 */
export function isDark(el) {
  for (let node = /** @type {Element | null} */ (el); node; node = above(node)) {
    const [red, green, blue, alpha] = channels(getComputedStyle(node).backgroundColor);
    if (alpha > 127) return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/**
 * Build a panel in `el` and keep it up to date; returns what takes it down again.
 * @param {Context} context
 * @param {string} name Class of the panel.
 * @param {(frame: Frame) => Parts} build
 * @returns {() => void}
 */
export function panel({ model, el }, name, build) {
  const store = storeOf(model);
  const mark = h("span", { class: "gnb-mark", "aria-hidden": "true" });
  const heading = h("h3", { class: "gnb-title" });
  const tools = h("div", { class: "gnb-tools" });
  const body = h("div", { class: "gnb-body" });
  const faults = h("ul", { class: "gnb-faults", role: "alert" });
  const question = h("div", { class: "gnb-question", role: "alertdialog", hidden: true });
  const gone = h("p", { class: "gnb-gone", role: "status", hidden: true });
  const spoken = h("p", { class: "gnb-spoken", "aria-live": "polite" });
  const head = h("header", { class: "gnb-head" }, mark, heading, tools);
  // what is in it can be disabled at once, also what comes later
  const controls = h("fieldset", { class: "gnb-controls", role: "presentation" }, head, gone, question, faults, body);
  const root = h("section", { class: `gnb gnb-${name}`, tabindex: "-1" }, controls, spoken);
  const focus = focusOf(root, () => store.state().uid);
  const unask = () => {
    question.hidden = true;
    question.replaceChildren();
  };

  const left = kept.get(store.state().uid) ?? new Map();
  kept.set(store.state().uid, left);
  let saidAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let saying;
  /** @type {Frame} */
  const frame = {
    store,
    root,
    body,
    tools,
    act: (action, args = {}) => store.send({ kind: "do", action, args }),
    ask(text, yes, action) {
      const back = focus.now();
      const close = () => {
        unask();
        focus.to(back);
      };
      const no = h("button", { type: "button", onclick: close }, "No, go back");
      const go = h(
        "button",
        {
          type: "button",
          class: "gnb-danger",
          onclick: () => {
            close();
            action();
          },
        },
        yes,
      );
      put(question, "aria-label", text);
      question.replaceChildren(h("p", {}, text), h("div", { class: "gnb-tools" }, no, go));
      question.hidden = false;
      question.onkeydown = (event) => {
        if (event.key === "Escape") close();
      };
      no.focus();
    },
    draft(name, input) {
      input.value = left.get(name) ?? "";
      input.addEventListener("input", () => left.set(name, input.value));
      return (text) => {
        input.value = text;
        left.set(name, text);
      };
    },
    keep(name, details) {
      details.open = left.get(name) ?? details.open;
      details.addEventListener("toggle", () => left.set(name, details.open));
      return details;
    },
    focused: (node) => node.contains(focus.now()),
    say(text) {
      clearTimeout(saying);
      saying = setTimeout(
        () => {
          saidAt = Date.now();
          write(spoken, text);
        },
        Math.max(0, saidAt + SPEAK - Date.now()),
      );
    },
    title(text, symbol = "") {
      write(heading, text);
      write(mark, symbol);
      put(root, "aria-label", text);
    },
  };

  const parts = build(frame);

  const theme = () => {
    const wanted = isDark(el) ? "dark" : "light";
    if (root.getAttribute("data-theme") === wanted) return;
    put(root, "data-theme", wanted);
    // what is drawn has to be drawn in other colours
    onChange();
  };
  const life = () => {
    if (el.closest(".jupyter-widgets-disconnected")) store.cut();
    const why = store.gone();
    if (why) {
      const then = `This is how it was at ${clockTime(store.now())}`;
      write(
        gone,
        why === "cut"
          ? `The kernel is gone. ${then}; buttons do nothing any more.`
          : `Nothing was heard of the kernel for a while. ${then}; buttons work again when it is heard.`,
      );
      // whatever was asked, there is nobody who could do it
      if (gone.hidden) unask();
    }
    gone.hidden = !why;
    controls.disabled = why !== "";
    put(root, "data-gone", why || null);
    focus.mend();
  };
  const refresh = () => {
    const state = store.state();
    keyed(
      faults,
      Object.entries(state.faults ?? {}),
      (key) =>
        h(
          "li",
          {},
          h("span", {}),
          h(
            "button",
            { type: "button", "aria-label": "Dismiss this error", onclick: () => frame.act("dismiss", { key }) },
            "✕",
          ),
        ),
      (node, text) => write(/** @type {Element} */ (node.firstElementChild), text),
    );
    parts.update(state);
  };

  let scheduled = 0;
  const onChange = () => {
    // however many messages come, a view is drawn once a frame
    if (!scheduled) {
      scheduled = requestAnimationFrame(() => {
        scheduled = 0;
        refresh();
        life();
      });
    }
  };
  const unlisten = store.listen((message, buffers) => {
    if (message) parts.message?.(message, buffers);
    else parts.wake?.();
  });
  model.on("change:state", onChange);
  const clock = setInterval(() => {
    // a theme may be there before its style sheet is
    theme();
    parts.tick?.();
    life();
    store.check();
  }, 1000);
  // JupyterLab knows at once when a kernel ends, and a restarted one knows nothing of this panel
  const signal = model.widget_manager?.kernel?.statusChanged;
  const onStatus = (/** @type {unknown} */ _, /** @type {string} */ status) => {
    if (["restarting", "autorestarting", "terminating", "dead"].includes(status)) {
      store.cut();
      parts.tick?.();
      life();
    }
  };
  signal?.connect(onStatus);
  const watcher = new MutationObserver(() => {
    theme();
    life();
  });
  watcher.observe(document.body, { attributes: true });
  watcher.observe(el, { attributes: true, attributeFilter: ["class"] });

  // what was sent between the making of the model and this moment was heard by nobody
  store.send({ kind: "hello", version: store.state().version });

  el.append(root);
  theme();
  refresh();
  life();
  // the element gets its place in the page, and with it its background, only after this function has ended
  requestAnimationFrame(() => {
    theme();
    focus.inherit();
  });

  return () => {
    setTimeout(focus.mend);
    clearInterval(clock);
    clearTimeout(saying);
    cancelAnimationFrame(scheduled);
    watcher.disconnect();
    signal?.disconnect(onStatus);
    unlisten();
    model.off("change:state", onChange);
    parts.close?.();
  };
}

/**
 * A button that asks the kernel for something.
 * @param {string} label
 * @param {(event: MouseEvent) => void} action
 * @param {Record<string, any>} [properties]
 * @returns {HTMLButtonElement}
 */
export function button(label, action, properties = {}) {
  const onclick = (/** @type {MouseEvent} */ event) => {
    if (node.ariaDisabled !== "true") action(event);
  };
  const node = h("button", { type: "button", onclick, ...properties }, label);
  return node;
}

/**
 * Say whether a button can be pressed for now. It keeps the focus, which a disabled element cannot have: what it has
 * begun will be over soon.
 * @param {HTMLButtonElement} node
 * @param {boolean} on
 */
export function enable(node, on) {
  put(node, "aria-disabled", on ? null : "true");
}

/**
 * An input whose Enter key does what the button beside it does.
 *
 * It is no form: notebooks take the Enter key of an output for themselves before a form is submitted.
 * @param {HTMLInputElement} input
 * @param {string} label Of the button.
 * @param {() => void} action
 * @param {Record<string, any>} [properties]
 * @returns {HTMLElement}
 */
export function entry(input, label, action, properties = {}) {
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      action();
    }
  });
  const { before, ...rest } = properties;
  const go = button(label, action);
  // some browsers give no focus to what is clicked, and the field would lose it
  go.addEventListener("mousedown", (event) => event.preventDefault());
  return h("div", { role: "group", ...rest, class: `gnb-tools gnb-entry ${rest.class ?? ""}` }, before ?? input, go);
}
