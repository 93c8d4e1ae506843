// Brings plotly's source to the page. It is not this widget's module: a page that is busy running that much
// would be late for the two seconds that anywidget gives each model for its beginning.

import { plotly } from "./plotly.js";

/** @import { Context } from "./types.d.ts" */

export default {
  /** @param {Context} context */
  initialize({ model }) {
    plotly().offer(model.get("source"));
  },
};
