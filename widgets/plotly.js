// The page's one plotly: five megabytes of JavaScript that are run when the first figure is drawn.

/**
 * @typedef {object} Plotly
 * @property {Promise<() => any>} made Gives what makes the browser's half of a figure, once plotly runs.
 * @property {(source: string) => void} offer Say what its source is; the first word counts.
 * @property {() => void} load Run it.
 */

/** @type {any} */
const world = globalThis;

/**
 * Plotly, whoever of its figures and its source comes first.
 * @returns {Plotly}
 */
export function plotly() {
  return (world.gnbPlotly ??= place());
}

/** @returns {Plotly} */
function place() {
  /** @type {(source: string) => void} */
  let offer = () => {};
  /** @type {Promise<string>} */
  const source = new Promise((resolve) => (offer = resolve));
  /** @type {(make: Promise<() => any>) => void} */
  let give = () => {};
  /** @type {Promise<() => any>} */
  const made = new Promise((resolve) => (give = resolve));
  return {
    made,
    offer,
    load() {
      give(
        source.then(async (text) => {
          const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
          try {
            return (await import(url)).default;
          } finally {
            URL.revokeObjectURL(url);
          }
        }),
      );
    },
  };
}
