// A session: where, who, who pays, what is left of the budget, what is running, and how to stop it.

import { h, keyed, put, write } from "./dom.js";
import { amount, counted } from "./format.js";
import { heedEnd } from "./outputs.js";
import { button, enable, panel } from "./panel.js";

/** @import { Context, State } from "./types.d.ts" */

/** @type {Record<string, [string, string]>} */
const SESSION_LOOKS = {
  starting: ["◌", "live"],
  ready: ["●", "good"],
  stopping: ["◍", "warn"],
  stopped: ["■", "calm"],
  failed: ["✕", "bad"],
};

/** The parts of the budget: key of the state, name, class of its colour. */
const PARTS = [
  ["settled", "Settled"],
  ["accepted", "Accepted"],
  ["reserved", "Reserved"],
  ["free", "Free"],
];

/**
 * What stopping ends, in words.
 * @param {State} state
 * @returns {string}
 */
export function consequences(state) {
  const things = Object.values(state.running ?? {}).map((thing) => thing.name);
  const shown = things.slice(0, 8).join(", ") + (things.length > 8 ? ` and ${things.length - 8} more` : "");
  const ends = things.length ? `This ends ${shown}. ` : "Nothing is running. ";
  return `Stop session ${state.name}? ${ends}All agreements are terminated, invoices are paid, the rest of the budget is released.`;
}

/**
 * A long id, shortened in the middle.
 * @param {string | null} id
 * @returns {string}
 */
export function short(id) {
  if (id == null) return "not known yet";
  return id.length > 20 ? `${id.slice(0, 10)}…${id.slice(-6)}` : id;
}

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  return panel(context, "card", (frame) => {
    const { store } = frame;
    /** @type {Record<string, HTMLElement>} */
    const values = {};
    const fact = (/** @type {string} */ key, /** @type {string} */ name) => {
      values[key] = h("dd", { class: "gnb-text" });
      values[`${key}2`] = h("dd", { class: "gnb-muted gnb-text" });
      return h("div", {}, h("dt", { class: "gnb-muted" }, name), values[key], values[`${key}2`]);
    };
    const facts = h(
      "dl",
      { class: "gnb-facts" },
      fact("where", "Where"),
      fact("who", "Who"),
      fact("pays", "Pays"),
      fact("hour", "Now"),
    );
    /** @type {Record<string, HTMLElement>} */
    const segments = {};
    /** @type {Record<string, HTMLElement>} */
    const amounts = {};
    const bar = h("div", { class: "gnb-budget", role: "img" });
    const legend = h("dl", { class: "gnb-legend" });
    for (const [key, name] of PARTS) {
      segments[key] = h("span", { "data-part": key });
      if (key !== "free") bar.append(segments[key]);
      amounts[key] = h("dd", { class: "gnb-num" });
      legend.append(h("div", {}, h("dt", {}, h("span", { class: "gnb-swatch", "data-part": key }), name), amounts[key]));
    }
    const budget = h("p", { class: "gnb-line" });
    const problem = h("p", { class: "gnb-notice", "data-tone": "bad", role: "status", hidden: true });
    const list = h("ul", { class: "gnb-running" });
    const nothing = h("p", { class: "gnb-muted" }, "Nothing is running.");
    const leftList = h("ul");
    const left = h(
      "div",
      { class: "gnb-notice", hidden: true },
      h("p", {}, "An earlier kernel has left this behind:"),
      leftList,
    );
    const stop = button("Stop session", () =>
      frame.ask(consequences(store.state()), "Stop session", () => frame.act("stop")), { class: "gnb-danger" });
    const recover = button("Recover", () =>
      frame.ask(
        `Recover? ${store.state().left.join("; ")}. What still runs is ended, what is owed is paid, reserved budget is released.`,
        "Recover",
        () => frame.act("recover"),
      ));
    frame.tools.append(recover, stop);
    frame.body.append(facts, budget, bar, legend, problem, left, h("h4", {}, "Running"), nothing, list);

    return {
      update(state) {
        const [shape, tone] = SESSION_LOOKS[state.state] ?? ["•", "calm"];
        frame.title(`Golem session ${state.name} · ${state.state}`, shape);
        put(frame.root.querySelector(".gnb-mark") ?? frame.root, "data-tone", tone);
        write(values.where, state.network === "local" ? "local network on this machine" : `${state.network} network`);
        write(values.where2, `subnet ${state.subnet} · ${state.daemon}`);
        write(values.who, short(state.node));
        put(values.who, "title", state.node);
        write(values.who2, "node id of this requestor");
        const account = String(state.account ?? "not known yet");
        const address = account.match(/0x[0-9a-fA-F]{40}/)?.[0];
        write(values.pays, address ? account.replace(address, short(address)) : account);
        put(values.pays, "title", account);
        write(
          values.pays2,
          `${state.balance == null ? "" : `balance ${amount(state.balance)} ${state.currency} · `}${state.real ? "real money" : "test money"}`,
        );
        put(values.pays2, "data-tone", state.real ? "warn" : null);
        write(values.hour, state.hour == null && Object.keys(state.running ?? {}).length ? "price not known" : `${amount(state.hour ?? 0)} ${state.currency} an hour`);
        write(values.hour2, counted(Object.keys(state.running ?? {}).length, "thing running", "things running"));
        const spent = state.settled + state.accepted;
        write(budget, `Budget: ${amount(spent)} of ${amount(state.budget)} ${state.currency} spent`);
        for (const [key] of PARTS) {
          const value = state[key];
          segments[key].style.width = `${Math.min(100, (100 * value) / (state.budget || 1)).toFixed(2)}%`;
          write(amounts[key], amount(value));
        }
        put(
          bar,
          "aria-label",
          `Budget of ${amount(state.budget)} ${state.currency}: ${PARTS.map(([key, name]) => `${name} ${amount(state[key])}`).join(", ")}`,
        );
        problem.hidden = !state.problem;
        write(problem, state.problem ?? "");
        left.hidden = !state.left?.length;
        keyed(
          leftList,
          (state.left ?? []).map((/** @type {string} */ line, /** @type {number} */ n) => [String(n), line]),
          () => h("li", { class: "gnb-text" }),
          (item, line) => write(item, line),
        );
        const running = Object.entries(state.running ?? {});
        nothing.hidden = running.length > 0;
        keyed(
          list,
          running,
          () => h("li", {}, h("span", { class: "gnb-muted" }), h("bdi"), h("span", { class: "gnb-text gnb-muted" })),
          (item, thing) => {
            write(item.children[0], thing.kind);
            write(item.children[1], thing.name);
            write(item.children[2], thing.text);
          },
        );
        const busy = state.busy ?? [];
        const stopping = state.state === "stopping" || busy.includes("stop");
        enable(stop, !stopping && state.state !== "stopped");
        write(stop, state.state === "stopped" ? "Stopped" : stopping ? "Stopping …" : "Stop session");
        recover.hidden = !state.left?.length;
        const recovering = busy.includes("recover");
        enable(recover, !recovering);
        write(recover, recovering ? "Recovering …" : "Recover");
        frame.say(`Session ${state.state}, ${amount(spent)} of ${amount(state.budget)} spent`);
      },
    };
  });
}

export default { initialize: heedEnd, render };
