// A plotly figure whose runtime is shared: five megabytes of JavaScript once a page instead of once a figure.

import { reconnect, tell } from "./delivery.js";
import { plotly } from "./plotly.js";

/** @import { Context } from "./types.d.ts" */

/** Changes of a figure that may arrive while the runtime is still being loaded. */
const UPDATES = [
  "addTraces",
  "restyle",
  "relayout",
  "update",
  "animate",
  "deleteTraces",
  "moveTraces",
  "removeLayoutProps",
  "removeTraceProps",
].map((name) => `_py2js_${name}`);

/** A kernel that does not answer for so long may not be heard; in milliseconds. */
const DOUBT = 6000;

/**
 * See that the figure hears of its changes.
 * @param {Context} context
 * @returns {() => void} Stops it.
 */
function look({ model }) {
  let heard = false;
  model.on("msg:custom", () => {
    heard = true;
  });
  model.send({ kind: "ping" });
  const timer = setTimeout(async () => {
    if (!heard && (await reconnect(model))) tell(model, { kind: "hello" });
  }, DOUBT);
  return () => clearTimeout(timer);
}

/**
 * A model that does not tell the kernel what it has just been told: after every change plotly would send back all
 * that it has worked out of it, a second stream as large as the first one.
 * @param {Context} context
 * @returns {Context}
 */
function quiet(context) {
  const { model } = context;
  return {
    ...context,
    model: new Proxy(model, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (name === "set") {
          return (/** @type {string} */ key, /** @type {unknown} */ given) => {
            if (key !== "_js2py_traceDeltas" && key !== "_js2py_layoutDelta") target.set(key, given);
          };
        }
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
  };
}

export default () => {
  /** @type {Promise<{ widget: any, replay: () => void }> | undefined} */
  let ready;
  const start = (/** @type {Context} */ context) =>
    (ready ??= (async () => {
      const { model } = context;
      /** @type {[string, unknown][]} */
      const queue = [];
      /** @type {[string, () => void][]} */
      const listeners = UPDATES.map((name) => [
        name,
        () => {
          const value = model.get(name);
          if (value) queue.push([name, value]);
        },
      ]);
      for (const [name, listener] of listeners) model.on(`change:${name}`, listener);
      const make = await plotly().made;
      const widget = make();
      await widget.initialize?.(quiet(context));
      for (const [name, listener] of listeners) model.off(`change:${name}`, listener);
      return {
        widget,
        replay() {
          for (const [name, value] of queue.splice(0)) {
            model.set(name, value);
            model.set(name, null);
          }
        },
      };
    })());
  return {
    /** @param {Context} context */
    initialize(context) {
      // not awaited: anywidget gives up on a model that takes two seconds
      start(context);
    },
    /** @param {Context} context */
    async render(context) {
      // plotly makes the element its own, classes included
      context.el.setAttribute("data-gnb-figure", "");
      plotly().load();
      const { widget, replay } = await start(context);
      const cleanup = await widget.render(quiet(context));
      replay();
      // drawn before it has a place in the page: it learns its width when it gets one
      const seen = new ResizeObserver(() => globalThis.dispatchEvent(new Event("resize")));
      seen.observe(context.el);
      const leave = look(context);
      return () => {
        leave();
        seen.disconnect();
        cleanup?.();
      };
    },
  };
};
