// The market: a table and a chart of offers, filtered, sorted and picked from; ten thousand of them stay smooth.

import { chart } from "./chart.js";
import { h, keyed, put, write } from "./dom.js";
import { amount, counted } from "./format.js";
import { Offers, jobCost, matching, median, quantity, sorted } from "./offers.js";
import { heedEnd } from "./outputs.js";
import { button, enable, panel } from "./panel.js";

/** @import { Context } from "./types.d.ts" */

/** Height of a row of the table in pixels; only those in sight are in the page. */
const ROW = 29;
/** Rows beyond the edges, so that scrolling shows no gap. */
const SPARE = 8;

/** Columns of the table: key, heading, whether it is a number. */
/** @type {[string, string, boolean][]} */
const COLUMNS = [
  ["provider", "Provider", false],
  ["price_full_hour", "Busy, GLM/h", true],
  ["price_hour", "Idle, GLM/h", true],
  ["price_cpu_hour", "A thread, GLM/h", true],
  ["job", "This job, GLM", true],
  ["threads", "Threads", true],
  ["memory", "Memory, GiB", true],
  ["storage", "Storage, GiB", true],
  ["runtime", "Runtime", false],
  ["seen", "Seen before", false],
];

/** @type {Record<string, string>} */
const SIZES = { threads: "threads", cores: "cores", memory: "memory, GiB", storage: "storage, GiB" };
/** @type {Record<string, string>} */
const PRICES = {
  price_full_hour: "GLM an hour, all threads busy",
  price_hour: "GLM an hour, idle",
  price_cpu_hour: "GLM an hour of a thread",
};

/**
 * The offers of each panel, by its id: models are handed over anew to every view.
 * @type {Map<string, Offers>}
 */
const books = new Map();

/**
 * What a job would cost, in words.
 * @param {number[]} costs Of all offers that are shown.
 * @returns {string}
 */
export function costLine(costs) {
  const finite = costs.filter(Number.isFinite);
  if (!finite.length) return "No offer that is shown has a price for it.";
  let [low, high] = [Infinity, -Infinity];
  for (const cost of finite) {
    low = Math.min(low, cost);
    high = Math.max(high, cost);
  }
  return `costs ${amount(low)} GLM on the cheapest, ${amount(median(finite))} in the middle, ${amount(high)} on the dearest`;
}

/**
 * Why no offer is shown, and what comes next; nothing if some are.
 * @param {number} shown
 * @param {number} all
 * @param {boolean} closed
 * @returns {string}
 */
export function emptiness(shown, all, closed) {
  if (shown) return "";
  if (all) return all === 1 ? "The only offer does not meet the filters." : `None of ${counted(all, "offer")} meets the filters.`;
  return closed
    ? "No offers were seen while this was looking."
    : "No offers yet. They appear here as they come from providers, mostly within some seconds.";
}

/** @param {Context} context */
function initialize(context) {
  heedEnd(context);
  const { model } = context;
  const offers = new Offers();
  books.set(model.get("state").uid, offers);
  model.on("msg:custom", (message, /** @type {DataView[]} */ buffers) => {
    if (message.kind !== "offers") return;
    // copied: what arrives may lie at any address, and columns must lie at multiples of eight
    const bytes = buffers.map((view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    offers.put(new Uint32Array(bytes[0]), message.columns, new Float64Array(bytes[1]), message.texts);
  });
  model.send({ kind: "want" });
}

/**
 * @param {Context} context
 * @returns {() => void}
 */
function render(context) {
  const offers = books.get(context.model.get("state").uid) ?? new Offers();
  return panel(context, "market", (frame) => {
    const { store, root } = frame;
    /** @type {number[]} */
    let rows = [];
    /** @type {Set<number>} */
    let picked = new Set();
    /** @type {{ column: string, direction: 1 | -1 }} */
    let order = { column: "price_full_hour", direction: 1 };
    const job = { items: 100, seconds: 60, threads: 1 };

    // -- filters --
    /** @type {Record<string, HTMLInputElement | HTMLSelectElement>} */
    const inputs = {};
    const number = (/** @type {string} */ key, /** @type {string} */ name) => {
      const input = h("input", { type: "number", min: "0", step: "any", oninput: () => filtersChanged() });
      inputs[key] = input;
      return h("label", {}, h("span", {}, name), input);
    };
    const text = (/** @type {string} */ key, /** @type {string} */ name) => {
      const input = h("input", { type: "search", oninput: () => filtersChanged() });
      inputs[key] = input;
      return h("label", {}, h("span", {}, name), input);
    };
    const choice = (/** @type {string} */ key, /** @type {string} */ name) => {
      const select = h("select", { onchange: () => filtersChanged() }, h("option", { value: "" }, "any"));
      inputs[key] = select;
      return h("label", {}, h("span", {}, name), select);
    };
    const seen = h("input", { type: "checkbox", onchange: () => filtersChanged() });
    inputs.seen = seen;
    const filters = h(
      "fieldset",
      { class: "gnb-filters" },
      h("legend", {}, "Filters"),
      number("max_price", "Most GLM an hour"),
      number("min_threads", "Least threads"),
      number("min_memory", "Least memory, GiB"),
      number("min_storage", "Least storage, GiB"),
      choice("runtime", "Runtime"),
      text("capability", "Capability"),
      text("name", "Name"),
      choice("subnet", "Subnet"),
      number("cheapest", "Cheapest"),
      h("label", { class: "gnb-check" }, seen, h("span", {}, "Seen before")),
    );
    const read = () => {
      /** @type {Record<string, any>} */
      const values = {};
      for (const [key, input] of Object.entries(inputs)) {
        if (input instanceof HTMLInputElement && input.type === "checkbox") values[key] = input.checked;
        else if (input instanceof HTMLInputElement && input.type === "number") {
          values[key] = quantity(input.value);
        } else values[key] = input.value;
      }
      return values;
    };
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let telling;
    const filtersChanged = () => {
      fromTheTop();
      clearTimeout(telling);
      telling = setTimeout(() => {
        telling = undefined;
        store.send({ kind: "filters", filters: read() });
      }, 150);
    };
    const options = (/** @type {string} */ key) => {
      const select = /** @type {HTMLSelectElement} */ (inputs[key]);
      const known = new Set([...select.options].map((option) => option.value));
      for (const value of new Set(offers.texts[key] ?? [])) {
        if (value && !known.has(value) && known.size < 60) {
          known.add(value);
          select.append(h("option", { value }, value));
        }
      }
    };

    // -- the job --
    const size = (/** @type {"items" | "seconds" | "threads"} */ key, /** @type {string} */ name) => {
      const input = h("input", {
        type: "number",
        min: "0",
        value: String(job[key]),
        oninput: () => {
          job[key] = quantity(input.value) ?? NaN;
          refresh();
        },
      });
      return h("label", {}, input, h("span", {}, name));
    };
    const cost = h("span", { class: "gnb-cost" });
    const estimate = h(
      "p",
      { class: "gnb-job" },
      "A job of",
      size("items", "items,"),
      size("seconds", "seconds each, with"),
      size("threads", "threads busy"),
      cost,
    );

    // -- the chart --
    const canvas = h("canvas", { class: "gnb-canvas", role: "img" });
    const tip = h("div", { class: "gnb-tip", hidden: true });
    const brush = h("div", { class: "gnb-brush", hidden: true });
    const drawing = chart(canvas, root);
    const select = (/** @type {Record<string, string>} */ values, /** @type {string} */ name) =>
      h(
        "select",
        { "aria-label": name, onchange: () => draw() },
        ...Object.entries(values).map(([value, text]) => h("option", { value }, text)),
      );
    const sizeChoice = select(SIZES, "Size on the chart");
    const priceChoice = select(PRICES, "Price on the chart");
    const draw = () =>
      drawing.draw(
        offers,
        rows,
        sizeChoice.value,
        SIZES[sizeChoice.value],
        priceChoice.value,
        PRICES[priceChoice.value],
        picked,
      );
    /** @type {{ x: number, y: number } | null} */
    let pressed = null;
    const place = (/** @type {MouseEvent} */ event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (store.gone()) return;
      pressed = place(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const { x, y } = place(event);
      if (pressed) {
        brush.hidden = Math.abs(x - pressed.x) + Math.abs(y - pressed.y) < 6;
        Object.assign(brush.style, {
          left: `${Math.min(x, pressed.x)}px`,
          top: `${Math.min(y, pressed.y)}px`,
          width: `${Math.abs(x - pressed.x)}px`,
          height: `${Math.abs(y - pressed.y)}px`,
        });
        return;
      }
      const row = drawing.at(x, y);
      tip.hidden = row < 0;
      if (row >= 0) {
        write(
          tip,
          `${offers.text("provider", row)}: ${amount(offers.number("price_full_hour", row))} GLM an hour, ` +
            `${counted(offers.number("threads", row), "thread")}, ${offers.number("memory", row)} GiB`,
        );
        tip.style.left = `${Math.min(x + 12, canvas.clientWidth - 220)}px`;
        tip.style.top = `${y + 14}px`;
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!pressed) return;
      const { x, y } = place(event);
      const from = pressed;
      pressed = null;
      brush.hidden = true;
      if (Math.abs(x - from.x) + Math.abs(y - from.y) >= 6) {
        pick(drawing.within(Math.min(x, from.x), Math.min(y, from.y), Math.max(x, from.x), Math.max(y, from.y)), true);
      } else {
        const row = drawing.at(x, y);
        if (row >= 0) pick([row], !picked.has(row));
      }
    });
    canvas.addEventListener("pointerleave", () => {
      tip.hidden = true;
    });

    // -- the table --
    const body = h("tbody");
    const above = h("tr", { "aria-hidden": "true" }, h("td"));
    const below = h("tr", { "aria-hidden": "true" }, h("td"));
    /** @type {Record<string, HTMLElement>} */
    const heads = {};
    const headings = COLUMNS.map(([key, name, numeric]) => {
      const sort = button(name, () => {
        order = { column: key, direction: order.column === key && order.direction === 1 ? -1 : 1 };
        fromTheTop();
      });
      heads[key] = h("th", { scope: "col", class: numeric ? "gnb-num" : null }, sort);
      return heads[key];
    });
    const table = h(
      "table",
      { "aria-label": "Offers" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col", "aria-label": "Picked" }), ...headings)),
      h("tbody", {}, above),
      body,
      h("tbody", {}, below),
    );
    const scroll = h(
      "div",
      { class: "gnb-scroll gnb-offers", tabindex: "0", "aria-label": "Offers, a table that scrolls", onscroll: () => fill() },
      table,
    );
    const reason = h("p", {});
    const clear = button("Clear filters", () => {
      for (const input of Object.values(inputs)) {
        if (input instanceof HTMLInputElement && input.type === "checkbox") input.checked = false;
        else input.value = "";
      }
      inputs.max_price.focus({ preventScroll: true });
      filtersChanged();
    });
    const nothing = h("div", { class: "gnb-nothing", hidden: true }, reason, clear);
    scroll.append(nothing);
    const value = (/** @type {string} */ key, /** @type {number} */ row) => {
      if (key === "job") return amount(jobCost(offers, row, job));
      if (key === "seen") return offers.number("seen", row) ? "◆ yes" : "";
      if (key in offers.texts) return offers.text(key, row);
      const found = offers.number(key, row);
      if (Number.isNaN(found)) return "–";
      return key.startsWith("price") ? amount(found) : String(Math.round(found * 10) / 10);
    };
    const fill = () => {
      // fewer rows than before may leave the place beyond the end
      const first = Math.max(0, Math.min(Math.floor(scroll.scrollTop / ROW), rows.length) - SPARE);
      const last = Math.min(rows.length, first + Math.ceil((scroll.clientHeight || 330) / ROW) + 2 * SPARE);
      above.style.height = `${first * ROW}px`;
      below.style.height = `${Math.max(0, rows.length - last) * ROW}px`;
      put(table, "aria-rowcount", rows.length + 1);
      keyed(
        body,
        rows.slice(first, last).map((row, index) => [String(row), { row, place: first + index }]),
        (key) => {
          const box = h("input", { type: "checkbox", onchange: () => pick([Number(key)], box.checked) });
          return h(
            "tr",
            {},
            h("td", {}, box),
            ...COLUMNS.map(([, , numeric]) => h("td", { class: numeric ? "gnb-num" : "gnb-cut" }, numeric ? null : h("bdi"))),
          );
        },
        (line, { row, place }) => {
          put(line, "aria-rowindex", place + 2);
          const box = /** @type {HTMLInputElement} */ (line.children[0].firstElementChild);
          box.checked = picked.has(row);
          put(box, "aria-label", `Pick ${offers.text("provider", row)}`);
          put(line, "aria-selected", picked.has(row) ? "true" : null);
          put(line.children[1], "title", offers.text("provider", row));
          COLUMNS.forEach(([key, , numeric], index) => {
            const cell = line.children[index + 1];
            write(numeric ? cell : /** @type {Element} */ (cell.firstElementChild), value(key, row));
          });
        },
      );
    };

    // -- picks --
    const pick = (/** @type {number[]} */ some, /** @type {boolean} */ on) => {
      picked = new Set(picked);
      for (const row of some) on ? picked.add(row) : picked.delete(row);
      tell();
    };
    const tell = () => {
      store.send({ kind: "picks" }, [new Uint32Array(picked)]);
      fill();
      draw();
      describe();
    };
    const summary = h("p", { class: "gnb-line", role: "status" });
    const all = button("Pick all shown", () => pick(rows, true));
    const none = button("Pick none", () => {
      picked = new Set();
      tell();
    });
    const stop = button("Stop looking", () => frame.act("close"));
    frame.tools.append(all, none, stop);
    const describe = () => {
      const chosen = picked.size ? `${counted(picked.size, "offer")} picked` : "none picked: all that are shown are selected";
      write(summary, `${rows.length.toLocaleString("en")} of ${counted(offers.length, "offer")} shown · ${chosen}`);
      enable(none, picked.size > 0);
      put(canvas, "aria-label", `Price against size of ${counted(rows.length, "offer")}; the table has the same.`);
    };

    frame.body.append(
      filters,
      summary,
      h("div", { class: "gnb-axes" }, priceChoice, h("span", { class: "gnb-muted" }, "against"), sizeChoice),
      h("div", { class: "gnb-chart" }, canvas, brush, tip),
      estimate,
      scroll,
    );

    /** What the person has asked for begins at its beginning: the place of before has other offers now. */
    const fromTheTop = () => {
      refresh();
      scroll.scrollTop = 0;
      fill();
    };
    const refresh = () => {
      // what comes by itself leaves the offers that are looked at where they are
      const anchor = rows[Math.floor(scroll.scrollTop / ROW)];
      const beside = scroll.scrollTop % ROW;
      rows = matching(offers, read());
      const costs = rows.map((row) => jobCost(offers, row, job));
      const sizes = Object.values(job).every(Number.isFinite);
      write(cost, sizes ? costLine(costs) : "costs what cannot be told: each size has to be a number that is not negative.");
      rows =
        order.column === "job"
          ? sorted(offers, rows, "job", order.direction, (row) => jobCost(offers, row, job))
          : sorted(offers, rows, order.column, order.direction);
      for (const [key, head] of Object.entries(heads)) {
        put(
          head,
          "aria-sort",
          key === order.column ? (order.direction === 1 ? "ascending" : "descending") : null,
        );
      }
      options("runtime");
      options("subnet");
      const words = emptiness(rows.length, offers.length, store.state().closed);
      nothing.hidden = !words;
      write(reason, words);
      clear.hidden = !offers.length;
      put(root, "data-empty", !offers.length);
      // first as high as it will be, for a place further down
      const at = scroll.scrollTop < ROW ? -1 : rows.indexOf(anchor);
      below.style.height = `${rows.length * ROW}px`;
      if (at >= 0) scroll.scrollTop = at * ROW + beside;
      fill();
      draw();
      describe();
    };
    let due = 0;
    const soon = () => {
      if (!due) {
        due = requestAnimationFrame(() => {
          due = 0;
          refresh();
        });
      }
    };
    const sight = new ResizeObserver(() => {
      fill();
      draw();
    });
    sight.observe(canvas);

    return {
      update(state) {
        frame.title(`Market of session ${state.name} · ${state.closed ? "not looking any more" : "looking"}`, "◎");
        stop.hidden = state.closed;
        if (!telling) {
          for (const [key, [wanted]] of Object.entries(state.filters)) {
            const input = inputs[key];
            if (frame.focused(input)) continue;
            if (input instanceof HTMLInputElement && input.type === "checkbox") input.checked = wanted;
            else if (input.value !== String(wanted ?? "")) input.value = String(wanted ?? "");
          }
        }
        picked = new Set(state.picked);
        soon();
      },
      message(message) {
        if (message.kind === "offers") soon();
      },
      wake: () => store.send({ kind: "want" }),
      close() {
        cancelAnimationFrame(due);
        clearTimeout(telling);
        sight.disconnect();
      },
    };
  });
}

export default { initialize, render };
