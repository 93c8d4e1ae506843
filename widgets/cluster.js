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

/** In these states an instance is one of those that are wanted. */
const COUNTED = ["pending", "starting", "running"];

/** In these an instance is over. */
const OVER = ["terminated", "unresponsive"];

/** More instances than that are no slip of the keys that anybody wants. */
const MOST = 200;

/**
 * How many instances are wanted, as it was typed; null if that is no such number.
 * @param {string} text
 * @returns {number | null}
 */
export function wantedCount(text) {
  return /^\s*\d{1,9}\s*$/.test(text) && Number(text) <= MOST ? Number(text) : null;
}

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
 * What an instance is called in a sentence.
 * @param {State} state
 * @param {string} id
 * @returns {string}
 */
function called(state, id) {
  const row = state.instances[id];
  return row?.placed ? `the instance on ${row.name}` : "the instance without a provider";
}

/**
 * The questions before an instance is stopped, suspended or restarted: what that ends, and what it costs.
 * @type {Record<string, (state: State, id: string, now: number) => string>}
 */
export const QUESTIONS = {
  stop: (state, id) =>
    `Stop ${called(state, id)}? ` +
    (state.instances[id]?.placed ? "Whatever is on it is lost, and it costs nothing more." : "None is looked for any more."),
  suspend(state, id) {
    const hour = state.instances[id]?.hour;
    const price = hour == null ? "" : ` ${amount(hour)} GLM an hour`;
    return `Suspend ${called(state, id)}? It is left alone, and goes on costing${price} until it is stopped or expires.`;
  },
  restart(state, id, now) {
    const cost = costUntilExpiry(state, 1, now);
    const price = state.each == null ? "" : ` The new one costs ${amount(state.each)} GLM an hour`;
    const sum = cost == null ? "" : `, ${amount(cost)} GLM until ${clockTime(state.expires)}`;
    const left = state.left == null ? "" : `; ${amount(state.left)} GLM are left`;
    const ends = OVER.includes(state.instances[id]?.state)
      ? `Start another one in place of ${called(state, id)}?`
      : `Stop ${called(state, id)} and start another one? Whatever is on it is lost.`;
    return ends + (price && `${price}${sum}${left}.`);
  },
};

/**
 * The question before some instances are stopped because fewer are wanted: it names them.
 * @param {State} state
 * @param {string[]} ids
 * @returns {string}
 */
export function stopping(state, ids) {
  const names = ids
    .slice(0, 8)
    .map((id) => (state.instances[id].placed ? state.instances[id].name : "one without a provider"));
  const rest = ids.length > names.length ? ` and ${ids.length - names.length} more` : "";
  return `Stop ${counted(ids.length, "instance")}, ${names.join(", ")}${rest}? Whatever is on them is lost, and they cost nothing more.`;
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
    const hint = h("p", { class: "gnb-hint", role: "alert", hidden: true });
    const told = (/** @type {string} */ text) => {
      hint.hidden = !text;
      write(hint, text);
      put(wanted, "aria-invalid", text ? "true" : null);
    };
    const reset = () => {
      wanted.value = String(store.state().wanted);
      told("");
    };
    const scale = entry(
      wanted,
      "Set",
      () => {
        const state = store.state();
        const number = wantedCount(wanted.value);
        told(number == null ? `How many instances are wanted is a whole number from 0 to ${MOST}. Nothing was changed.` : "");
        if (number == null) return;
        const alive = Object.keys(state.instances).filter((id) => COUNTED.includes(state.instances[id].state));
        const act = () => frame.act("scale", { wanted: number });
        if (number > alive.length) start(number - alive.length, act);
        else if (number < alive.length) frame.ask(stopping(state, alive.slice(number)), "Stop", act);
        else act();
      },
      { class: "gnb-scale", before: h("label", {}, "Wanted ", wanted) },
    );
    wanted.addEventListener("input", () => told(""));
    scale.addEventListener("keydown", (event) => {
      if (event.key === "Escape") reset();
    });
    scale.addEventListener("focusout", (event) => {
      if (!scale.contains(/** @type {Node | null} */ (event.relatedTarget))) reset();
    });
    const add = button("Add instance", () => start(1, () => frame.act("add", { count: 1 })));
    frame.tools.append(scale, add);
    frame.body.append(hint);
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
      const ask = (/** @type {string} */ action, /** @type {string} */ yes) =>
        frame.ask(QUESTIONS[action](store.state(), id, store.now()), yes, () => act(action));
      const message = h("input", { type: "text", "aria-label": "Message", maxlength: "10000" });
      const say = frame.draft(`message ${id}`, message);
      const send = entry(message, "Send message", () => {
        if (!message.value) return;
        act("send_message", { text: message.value });
        say("");
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
        stop: button("Stop", () => ask("stop", "Stop"), { class: "gnb-danger" }),
        suspend: button("Suspend", () => ask("suspend", "Suspend")),
        resume: button("Resume", () => act("resume")),
        restart: button("Restart", () => ask("restart", "Restart")),
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
          const up = row.started != null && !OVER.includes(row.state);
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
          const name = state.instances[id].name;
          write(lane.children[0], name);
          put(lane.children[0], "title", name);
          const parts = stretches(states, from, to);
          const told = parts.map((part) => `${part.state} for ${duration(part.seconds)}`).join(", ");
          put(lane, "aria-label", `${name}: ${told}`);
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
        if (!frame.focused(scale)) wanted.value = String(state.wanted);
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
            write(who, row.name);
            put(who, "title", row.name);
            write(said, row.error ?? row.message ?? "");
            put(said, "data-tone", row.error ? "bad" : null);
            write(cells[2], amount(row.hour));
            for (const [action, node] of Object.entries(made.buttons)) {
              node.hidden = ended || !(POSSIBLE[row.state] ?? []).includes(action);
              enable(node, !(state.busy ?? []).includes(`${action} ${id}`));
              put(node, "aria-label", `${node.textContent} ${row.name}`);
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
