// The panel above the dashboard's figure: what it shows.

import { h, keyed, put, write } from "./dom.js";
import { panel } from "./panel.js";

/** @import { Context } from "./types.d.ts" */

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  return panel(context, "dashboard", (frame) => {
    const choices = h("div", { class: "gnb-choices" });
    const box = h("fieldset", {}, h("legend", { class: "gnb-muted" }, "Shown"), choices);
    frame.body.append(box);
    return {
      update(state) {
        frame.title(`Dashboard of session ${state.name}`, "▦");
        const parts = Object.entries(state.parts);
        const alone = parts.filter(([, part]) => part.shown).length < 2;
        keyed(
          choices,
          parts,
          (key) => {
            const box = h("input", { type: "checkbox", onchange: () => frame.act("show_part", { name: key, shown: box.checked }) });
            return h("label", {}, box, h("span"));
          },
          (label, part) => {
            const box = /** @type {HTMLInputElement} */ (label.firstElementChild);
            box.checked = part.shown;
            // the last one stays: an empty figure says nothing
            box.disabled = alone && part.shown;
            put(box, "aria-label", part.title);
            write(/** @type {Element} */ (label.lastElementChild), part.title);
          },
        );
      },
    };
  });
}

export default { render };
