// The panel above the dashboard's figure: what it shows.

import { h, keyed, put, write } from "./dom.js";
import { heedEnd } from "./outputs.js";
import { panel } from "./panel.js";

/** @import { Context, State } from "./types.d.ts" */

/** Two columns of subplots need that many pixels. */
const NARROW = 560;

/** In less than that, headings and ticks have to be set closely. */
const TIGHT = 320;

/** After so many milliseconds a choice that the kernel has not confirmed is taken back. */
const PATIENCE = 15_000;

/**
 * Choices of the person that the kernel may not have heard of yet: until it has, they are what is shown, however
 * many older states arrive meanwhile.
 * @returns {{ choose: (name: string, shown: boolean, now: number) => void, shown: (name: string, state: boolean, now: number) => boolean }}
 */
export function choices() {
  /** @type {Map<string, { shown: boolean, until: number }>} */
  const asked = new Map();
  return {
    choose: (name, shown, now) => asked.set(name, { shown, until: now + PATIENCE }),
    shown(name, state, now) {
      const choice = asked.get(name);
      if (choice && choice.shown !== state && now < choice.until) return choice.shown;
      asked.delete(name);
      return state;
    },
  };
}

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  return panel(context, "dashboard", (frame) => {
    const chosen = choices();
    const list = h("div", { class: "gnb-choices" });
    const box = h("fieldset", { class: "gnb-shown" }, h("legend", { class: "gnb-muted" }, "Shown"), list);
    frame.body.append(box);
    /** @type {boolean | undefined} */
    let dark;
    const update = (/** @type {State} */ state) => {
      const nowDark = frame.root.getAttribute("data-theme") === "dark";
      if (dark !== nowDark) {
        dark = nowDark;
        // what is left of the figure when the session is over is made by the kernel
        frame.store.send({ kind: "theme", dark });
      }
      frame.title(`Dashboard of session ${state.name}`, "▦");
      const now = Date.now();
      /** @type {[string, { title: string, shown: boolean }][]} */
      const parts = Object.entries(/** @type {Record<string, any>} */ (state.parts)).map(([name, part]) => [
        name,
        { ...part, shown: chosen.shown(name, part.shown, now) },
      ]);
      keyed(
        list,
        parts,
        (name) => {
          const onchange = () => {
            chosen.choose(name, box.checked, Date.now());
            frame.act("show_part", { name, shown: box.checked });
            update(frame.store.state());
          };
          const box = h("input", { type: "checkbox", onchange });
          return h("label", {}, box, h("span"));
        },
        (label, part) => {
          const box = /** @type {HTMLInputElement} */ (label.firstElementChild);
          box.checked = part.shown;
          put(box, "aria-label", part.title);
          write(/** @type {Element} */ (label.lastElementChild), part.title);
        },
      );
      const chosenParts = parts.filter(([, part]) => part.shown).map(([, part]) => part.title);
      frame.say(chosenParts.length ? `Shown: ${chosenParts.join(", ")}` : "Nothing is chosen. Tick what you want to see.");
    };
    // the figure is laid out by the kernel, which has to be told how much room there is
    let room = "";
    const sight = new ResizeObserver(() => {
      const width = frame.root.clientWidth;
      const now = { narrow: width < NARROW, tight: width < TIGHT };
      if (width && JSON.stringify(now) !== room) {
        room = JSON.stringify(now);
        frame.store.send({ kind: "room", ...now });
      }
    });
    sight.observe(frame.root);
    return { update, tick: () => update(frame.store.state()), close: () => sight.disconnect() };
  });
}

export default { initialize: heedEnd, render };
