// A cluster: one row an instance, with all that can be done to it, and the states over time.

import { h, keyed, put, write } from "./dom.js";
import { amount, clockTime, counted, duration } from "./format.js";
import { heedEnd } from "./outputs.js";
import { button, enable, entry, panel } from "./panel.js";

/** @import { Context, State } from "./types.d.ts" */

/** Shape and tone of a state. */
/** @type {Record<string, [string, string]>} */
export const INSTANCE_LOOKS = {
  pending: ["◌", "calm"],
  starting: ["◔", "other"],
  running: ["▶", "good"],
  stopping: ["◕", "warn"],
  suspended: ["‖", "live"],
  unresponsive: ["?", "bad"],
  terminated: ["■", "calm"],
};

/** What can be done to an instance in a state. */
/** @type {Record<string, string[]>} */
const POSSIBLE = {
  pending: ["stop"],
  starting: ["stop", "suspend", "restart"],
  running: ["stop", "suspend", "restart"],
  stopping: ["suspend"],
  suspended: ["resume", "stop"],
  unresponsive: ["restart"],
  terminated: [],
};

/**
 * What a number of instances may cost until they expire; null if that is not known.
 * @param {State} state
 * @param {number} count
 * @param {number} now
 * @returns {number | null}
 */
export function costUntilExpiry(state, count, now) {
  if (state.each == null || state.expires == null) return null;
  return state.each * count * Math.max(0, (state.expires - now) / 3_600_000);
}

/**
 * The question before starting instances that cost more than a tenth of what is left; null if none is needed.
 * @param {State} state
 * @param {number} count
 * @param {number} now
 * @returns {string | null}
 */
export function warning(state, count, now) {
  const cost = costUntilExpiry(state, count, now);
  if (cost == null || state.left == null || cost <= state.left / 10) return null;
  return (
    `Start ${counted(count, "more instance")}? At ${amount(state.each * count)} GLM an hour that may cost ` +
    `${amount(cost)} GLM until ${clockTime(state.expires)}, and ${amount(state.left)} GLM are left.`
  );
}

/**
 * The stretches of a timeline in per cent of its width.
 * @param {[string, number][]} states
 * @param {number} from
 * @param {number} to
 * @returns {{ state: string, left: number, width: number, seconds: number }[]}
 */
export function stretches(states, from, to) {
  const whole = Math.max(to - from, 1);
  return states
    .map(([state, begin], index) => {
      const end = states[index + 1]?.[1] ?? (state === "terminated" || state === "unresponsive" ? begin : to);
      return {
        state,
        left: (100 * (begin - from)) / whole,
        width: Math.max((100 * (end - begin)) / whole, 0.4),
        seconds: (end - begin) / 1000,
      };
    })
    .filter((stretch) => stretch.left < 100);
}

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  return panel(context, "cluster", (frame) => {
    const { store } = frame;
    const summary = h("p", { class: "gnb-line" });
    const wanted = h("input", { type: "number", min: "0", max: "200", "aria-label": "Instances wanted" });
    const start = (/** @type {number} */ count, /** @type {() => void} */ action) => {
      const question = warning(store.state(), count, store.now());
      if (question) frame.ask(question, "Start", action);
      else action();
    };
    const living = () =>
      Object.values(store.state().instances).filter((row) => !["terminated", "unresponsive"].includes(row.state)).length;
    const scale = entry(
      wanted,
      "Set",
      () => {
        const number = Number(wanted.value);
        if (!Number.isInteger(number) || number < 0) return;
        const more = number - living();
        if (more > 0) start(more, () => frame.act("scale", { wanted: number }));
        else if (more < 0) {
          frame.ask(`Stop ${counted(-more, "instance")}?`, "Stop", () => frame.act("scale", { wanted: number }));
        } else frame.act("scale", { wanted: number });
      },
      { class: "gnb-scale", before: h("label", {}, "Wanted ", wanted) },
    );
    const add = button("Add instance", () => start(1, () => frame.act("add", { count: 1 })));
    frame.tools.append(scale, add);
    const rows = h("tbody");
    const table = h(
      "table",
      { "aria-label": "Instances" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["State", "Provider", "GLM an hour", "Actions"].map((text, n) =>
            h("th", { scope: "col", class: n === 2 ? "gnb-num" : null }, text),
          ),
        ),
      ),
      rows,
    );
    const none = h("p", { class: "gnb-muted" }, "There are no instances.");
    const timeline = h("div", { class: "gnb-timeline" });
    const axis = h("p", { class: "gnb-axis gnb-muted" }, h("span"), h("span"));
    const legend = h(
      "p",
      { class: "gnb-legend gnb-muted" },
      ...Object.keys(INSTANCE_LOOKS)
        .slice(0, -1)
        .map((state) => h("span", {}, h("i", { "data-state": state, "aria-hidden": "true" }), state)),
    );
    const history = frame.keep(
      "history",
      h("details", { open: true }, h("summary", {}, "States over time"), timeline, axis, legend),
    );
    frame.body.append(summary, none, h("div", { class: "gnb-scroll" }, table), history);

    const create = (/** @type {string} */ id) => {
      const act = (/** @type {string} */ action, /** @type {Record<string, unknown>} */ more = {}) =>
        frame.act(action, { id, ...more });
      const name = () => `instance on ${store.state().instances[id]?.provider ?? "no provider yet"}`;
      const ask = (/** @type {string} */ question, /** @type {string} */ yes, /** @type {string} */ action) =>
        frame.ask(question, yes, () => act(action));
      const message = h("input", { type: "text", "aria-label": "Message", maxlength: "10000" });
      const send = entry(message, "Send message", () => {
        if (!message.value) return;
        act("send_message", { text: message.value });
        message.value = "";
      });
      const page = h("a", { target: "_blank", rel: "noopener noreferrer", hidden: true }, "Open the proxied page");
      const output = h("pre", { tabindex: "0", "aria-label": "End of the output" });
      const more = h("tr", { class: "gnb-more", hidden: true }, h("td", { colspan: "4" }, send, page, output));
      // no button: what is to be read can be, also when the kernel is gone
      const details = frame.keep(`more ${id}`, h("details", {}, h("summary", {}, "More")));
      details.addEventListener("toggle", () => {
        more.hidden = !details.open;
      });
      more.hidden = !details.open;
      const buttons = {
        stop: button("Stop", () => ask(`Stop the ${name()}?`, "Stop", "stop"), { class: "gnb-danger" }),
        suspend: button("Suspend", () =>
          ask(`Suspend the ${name()}? It goes on costing until it is resumed or expires.`, "Suspend", "suspend")),
        resume: button("Resume", () => act("resume")),
        restart: button("Restart", () => ask(`Stop the ${name()} and start another one?`, "Restart", "restart")),
      };
      const line = h(
        "tr",
        {},
        h("td", {}, h("span", { class: "gnb-state" }), h("div", { class: "gnb-since gnb-muted" })),
        h(
          "td",
          { class: "gnb-who" },
          h("bdi", { class: "gnb-cut" }),
          h("div", { class: "gnb-address gnb-muted" }),
          h("div", { class: "gnb-message gnb-text gnb-muted" }),
        ),
        h("td", { class: "gnb-num" }),
        h("td", {}, h("div", { class: "gnb-tools" }, ...Object.values(buttons), details)),
      );
      const group = h("template");
      return Object.assign(group, { line, more, buttons, output, page, send });
    };
    /** @type {Map<string, ReturnType<typeof create>>} */
    const known = new Map();

    const tick = () => {
      const state = store.state();
      const now = state.final ? state.now : store.now();
      for (const [id, row] of Object.entries(state.instances)) {
        const cell = known.get(id)?.line.children[0].children[1];
        if (cell) write(cell, row.since == null ? "" : `for ${duration(Math.max(0, now - row.since) / 1000)}`);
        const place = known.get(id)?.line.children[1].children[1];
        if (place) {
          const up = row.started != null && !["terminated", "unresponsive"].includes(row.state);
          write(place, [row.address, up && `up ${duration(Math.max(0, now - row.started) / 1000)}`].filter(Boolean).join(" · "));
        }
      }
      const all = Object.entries(state.timeline).filter(([, states]) => states.length);
      history.hidden = !all.length;
      if (!all.length) return;
      const from = Math.min(...all.map(([, states]) => states[0][1]));
      const to = Math.max(now, from + 1000);
      write(axis.children[0], clockTime(from));
      write(axis.children[1], clockTime(to));
      keyed(
        timeline,
        all,
        () => h("div", { class: "gnb-lane", role: "img" }, h("bdi"), h("div")),
        (lane, states, id) => {
          write(lane.children[0], state.instances[id]?.provider ?? id.slice(0, 8));
          const parts = stretches(states, from, to);
          put(lane, "aria-label", parts.map((part) => `${part.state} for ${duration(part.seconds)}`).join(", "));
          keyed(
            lane.children[1],
            parts.map((part, index) => [String(index), part]),
            () => h("i"),
            (bar, part) => {
              put(bar, "data-state", part.state);
              put(bar, "title", `${part.state} for ${duration(part.seconds)}`);
              bar.style.left = `${part.left.toFixed(2)}%`;
              bar.style.width = `${part.width.toFixed(2)}%`;
            },
          );
        },
      );
    };

    return {
      tick,
      update(state) {
        const running = Object.values(state.instances).filter((row) => row.state === "running").length;
        frame.title(`${state.name} · ${state.service} · ${state.state}`, state.state === "ended" ? "■" : "▶");
        const hour = Object.values(state.instances)
          .filter((row) => !["terminated", "unresponsive", "pending"].includes(row.state))
          .reduce((sum, row) => sum + (row.hour ?? 0), 0);
        const text = `${running} of ${counted(state.wanted, "instance")} running`;
        write(summary, `${text} · ${amount(hour)} GLM an hour · ${amount(state.cost)} GLM so far`);
        const ended = state.state === "ended";
        scale.hidden = ended;
        add.hidden = ended;
        enable(add, !(state.busy ?? []).includes("add"));
        if (document.activeElement !== wanted) wanted.value = String(state.wanted);
        const entries = Object.entries(state.instances);
        none.hidden = entries.length > 0;
        table.hidden = !entries.length;
        for (const id of [...known.keys()]) if (!(id in state.instances)) known.delete(id);
        /** @type {[string, any][]} */
        const lines = [];
        for (const [id, row] of entries) {
          if (!known.has(id)) known.set(id, create(id));
          lines.push([id, row], [`${id} more`, row]);
        }
        keyed(
          rows,
          lines,
          (key) => {
            const [id, second] = key.split(" ");
            const made = /** @type {ReturnType<typeof create>} */ (known.get(id));
            return second ? made.more : made.line;
          },
          (node, row, key) => {
            const [id, second] = key.split(" ");
            const made = /** @type {ReturnType<typeof create>} */ (known.get(id));
            if (second) {
              write(made.output, row.output || "No output yet.");
              made.page.hidden = !row.url;
              put(made.page, "href", row.url);
              made.send.hidden = !["starting", "running", "stopping"].includes(row.state);
              return;
            }
            const cells = node.children;
            const [shape, tone] = INSTANCE_LOOKS[row.state] ?? ["•", "calm"];
            const mark = /** @type {Element} */ (cells[0].firstElementChild);
            put(mark, "data-shape", shape);
            put(mark, "data-tone", tone);
            write(mark, row.state);
            const [who, , said] = cells[1].children;
            write(who, row.provider ?? "no provider yet");
            put(who, "title", row.provider);
            write(said, row.error ?? row.message ?? "");
            put(said, "data-tone", row.error ? "bad" : null);
            write(cells[2], amount(row.hour));
            for (const [action, node] of Object.entries(made.buttons)) {
              node.hidden = ended || !(POSSIBLE[row.state] ?? []).includes(action);
              enable(node, !(state.busy ?? []).includes(`${action} ${id}`));
              put(node, "aria-label", `${node.textContent} ${row.provider ?? "the instance"}`);
            }
          },
        );
        tick();
        frame.say(`${state.name}: ${text}`);
      },
    };
  });
}

export default { initialize: heedEnd, render };
