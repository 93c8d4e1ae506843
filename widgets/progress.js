// A batch: one bar for all items, one lane a provider, what went wrong in the provider's words.

import { h, keyed, put, write } from "./dom.js";
import { amount, counted, duration } from "./format.js";
import { heedEnd } from "./outputs.js";
import { button, enable, panel } from "./panel.js";

/** @import { Context, State } from "./types.d.ts" */

/** How a state looks: its shape and its tone. The words come from the kernel. */
/** @type {Record<string, [string, string]>} */
export const LOOKS = {
  negotiating: ["◌", "other"],
  deploying: ["◔", "live"],
  transferring: ["⇅", "live"],
  running: ["▶", "live"],
  waiting: ["‖", "calm"],
  done: ["✓", "good"],
  failed: ["✕", "bad"],
  cancelled: ["■", "warn"],
  ended: ["■", "calm"],
  paid: ["✓", "good"],
};

/**
 * The line below the bar.
 * @param {State} state
 * @returns {string}
 */
export function counts(state) {
  const parts = [
    state.total == null ? `${counted(state.done, "item")} done` : `${state.done} of ${counted(state.total, "item")} done`,
  ];
  if (state.running) parts.push(`${state.running} running`);
  if (state.failed) parts.push(`${state.failed} failed`);
  if (state.retries) parts.push(state.retries === 1 ? "1 retry" : `${state.retries} retries`);
  return parts.join(" · ");
}

/**
 * What it costs.
 * @param {State} state
 * @returns {string}
 */
export function money(state) {
  const parts = [state.ended == null ? `${amount(state.cost)} GLM so far` : `${amount(state.cost)} GLM in all`];
  if (state.projected != null && state.ended == null) parts.push(`about ${amount(state.projected)} at the end`);
  if (state.limit != null) parts.push(`limit ${amount(state.limit)}`);
  return parts.join(" · ");
}

/**
 * How long it has taken and will take.
 * @param {State} state
 * @param {number} now
 * @returns {string}
 */
export function times(state, now) {
  if (state.started == null) return "";
  if (state.ended != null) return `took ${duration((state.ended - state.started) / 1000)}`;
  const gone = duration(Math.max(0, now - state.started) / 1000);
  if (state.left == null) return gone;
  // the estimate is as old as the state
  return `${gone} · about ${duration(Math.max(0, state.left - (now - state.now) / 1000))} left`;
}

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  return panel(context, "progress", (frame) => {
    const { store } = frame;
    const done = h("span", { class: "gnb-done" });
    const failed = h("span", { class: "gnb-failed" });
    const running = h("span", { class: "gnb-running" });
    const bar = h("div", { class: "gnb-bar", role: "progressbar", "aria-valuemin": "0" }, done, failed, running);
    const line = h("span", { class: "gnb-counts" });
    const time = h("span", { class: "gnb-times gnb-muted" });
    const cost = h("span", { class: "gnb-cost" });
    const outcome = h("p", { class: "gnb-outcome gnb-text", hidden: true });
    const rows = h("tbody");
    const head = ["State", "Provider", "Doing", "Done", "Failed", "GLM"];
    const table = h(
      "table",
      { "aria-label": "Providers" },
      h(
        "thead",
        {},
        h("tr", {}, ...head.map((text, index) => h("th", { scope: "col", class: index > 2 ? "gnb-num" : null }, text))),
      ),
      rows,
    );
    const lanes = h("div", { class: "gnb-scroll gnb-lanes", tabindex: "0", "aria-label": "Providers of this job" }, table);
    const errorList = h("ul", { class: "gnb-errors" });
    const errorCount = h("summary", {});
    const errors = frame.keep("errors", h("details", { hidden: true }, errorCount, errorList));
    const cancel = button("Cancel", () => {
      const state = store.state();
      frame.ask(
        `Cancel ${state.name}? ${counted(state.running, "running item")} and what is not started will not be computed; what is done stays.`,
        `Cancel ${state.name}`,
        () => frame.act("cancel"),
      );
    }, { class: "gnb-danger" });
    const retry = button("Retry failed", () => frame.act("retry_failed"));
    frame.tools.append(retry, cancel);
    frame.body.append(
      bar,
      h("p", { class: "gnb-line" }, line, time),
      h("p", { class: "gnb-line" }, cost),
      outcome,
      lanes,
      errors,
    );

    return {
      tick: () => write(time, times(store.state(), store.now())),
      update(state) {
        const [shape, tone] = LOOKS[state.state] ?? ["•", "calm"];
        frame.title(`${state.name} · ${state.state}${state.what ? ` · ${state.what}` : ""}`, shape);
        put(frame.root, "data-state", state.state);
        const total = Math.max(state.total ?? state.done + state.failed + state.running, 1);
        const share = (/** @type {number} */ n) => `${Math.min(100, (100 * n) / total).toFixed(2)}%`;
        done.style.width = share(state.done);
        failed.style.width = share(state.failed);
        running.style.width = share(state.running);
        const text = counts(state);
        put(bar, "aria-label", `Progress of ${state.name}`);
        put(bar, "aria-valuemax", total);
        put(bar, "aria-valuenow", state.total == null ? null : state.done);
        put(bar, "aria-valuetext", text);
        put(bar, "data-tone", tone);
        write(line, text);
        write(cost, money(state));
        write(time, times(state, store.now()));
        outcome.hidden = !state.outcome;
        write(outcome, state.outcome ?? "");
        put(outcome, "data-tone", state.state === "done" ? "good" : "bad");
        cancel.hidden = state.state !== "running";
        const cancelling = (state.busy ?? []).includes("cancel");
        enable(cancel, !cancelling);
        write(cancel, cancelling ? "Cancelling …" : "Cancel");
        // what fails while it runs is tried again by itself
        retry.hidden = state.state === "running" || !(state.failed || state.done < state.total);
        enable(retry, !(state.busy ?? []).includes("retry_failed"));
        write(retry, state.failed ? "Retry failed" : "Compute the rest");
        const lane = Object.entries(state.lanes ?? {});
        lanes.hidden = !lane.length;
        keyed(
          rows,
          lane,
          () =>
            h(
              "tr",
              {},
              h("td", {}, h("span", { class: "gnb-state" })),
              h("td", {}, h("bdi")),
              h("td", { class: "gnb-text" }),
              h("td", { class: "gnb-num" }),
              h("td", { class: "gnb-num" }),
              h("td", { class: "gnb-num" }),
            ),
          (row, value) => {
            const cells = row.children;
            const [shape, tone] = LOOKS[value.state] ?? ["•", "calm"];
            const mark = /** @type {Element} */ (cells[0].firstElementChild);
            put(mark, "data-shape", shape);
            put(mark, "data-tone", tone);
            write(mark, value.state);
            write(/** @type {Element} */ (cells[1].firstElementChild), value.name);
            write(cells[2], value.doing ?? "");
            write(cells[3], value.done);
            write(cells[4], value.failed || "");
            write(cells[5], amount(value.cost));
          },
        );
        const wrong = Object.entries(state.errors ?? {}).reverse();
        errors.hidden = !wrong.length;
        write(errorCount, `${counted(wrong.length, "error")}, the last one first`);
        keyed(
          errorList,
          wrong,
          () => h("li", {}, h("strong", { class: "gnb-text" }), h("pre", { tabindex: "0" })),
          (item, error) => {
            const where = [error.item, error.provider && `on ${error.provider}`];
            write(item.children[0], where.filter(Boolean).join(" ") || "the job");
            write(item.children[1], error.text);
          },
        );
        frame.say(`${state.name} ${state.state}: ${text}`);
      },
    };
  });
}

export default { initialize: heedEnd, render };
