// Price against size, and how prices are spread: two drawings on one canvas, fast with tens of thousands of points.

import { histogram, ticks } from "./offers.js";

/** @import { Offers } from "./offers.js" */

const LEFT = 58;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 40;
/** Share of the width that the histogram takes, beside the points and on the same price axis. */
const SIDE = 0.24;

/**
 * A drawing that knows where its points are.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} root Where the colours come from.
 */
export function chart(canvas, root) {
  /** @type {{ row: number, x: number, y: number }[]} */
  let points = [];
  const colour = (/** @type {string} */ name) => getComputedStyle(root).getPropertyValue(name).trim() || "gray";

  return {
    /**
     * @param {Offers} offers
     * @param {number[]} rows
     * @param {string} size
     * @param {string} sizeName
     * @param {string} price
     * @param {string} priceName
     * @param {Set<number>} picked
     */
    draw(offers, rows, size, sizeName, price, priceName, picked) {
      const scale = globalThis.devicePixelRatio || 1;
      const width = canvas.clientWidth;
      const height = canvas.clientHeight;
      if (!width || !height) return;
      if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
      if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
      const pen = canvas.getContext("2d");
      if (!pen) return;
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.clearRect(0, 0, width, height);
      const ink = colour("--gnb-fg");
      const muted = colour("--gnb-muted");
      const line = colour("--gnb-line");
      const [fresh, seen, chosen] = [colour("--gnb-live"), colour("--gnb-other"), colour("--gnb-bad")];
      pen.font = `12px ${getComputedStyle(root).fontFamily}`;
      pen.lineWidth = 1;

      if (!rows.length) {
        // axes of nothing are only confusing
        points = [];
        pen.fillStyle = muted;
        pen.textAlign = "center";
        pen.fillText("No offers to draw", width / 2, height / 2);
        return;
      }
      const side = Math.round((width - LEFT - RIGHT) * SIDE);
      const right = width - RIGHT - side - 24;
      const bottom = height - BOTTOM;
      let most = 0;
      let dearest = 0;
      for (const row of rows) {
        const x = offers.number(size, row);
        const y = offers.number(price, row);
        if (x > most) most = x;
        if (y > dearest) dearest = y;
      }
      most = most * 1.05 || 1;
      dearest = dearest * 1.05 || 1;
      const toX = (/** @type {number} */ value) => LEFT + ((right - LEFT) * value) / most;
      const toY = (/** @type {number} */ value) => bottom - ((bottom - TOP) * value) / dearest;

      pen.textBaseline = "middle";
      pen.textAlign = "right";
      for (const tick of ticks(dearest)) {
        pen.strokeStyle = line;
        pen.beginPath();
        pen.moveTo(LEFT, Math.round(toY(tick)) + 0.5);
        pen.lineTo(width - RIGHT, Math.round(toY(tick)) + 0.5);
        pen.stroke();
        pen.fillStyle = muted;
        pen.fillText(String(Number(tick.toPrecision(4))), LEFT - 8, toY(tick));
      }
      pen.textBaseline = "top";
      pen.textAlign = "center";
      for (const tick of ticks(most, 6)) pen.fillText(String(Number(tick.toPrecision(4))), toX(tick), bottom + 6);
      pen.fillStyle = ink;
      pen.fillText(sizeName, (LEFT + right) / 2, bottom + 22);
      const wide = "offers at a price";
      pen.fillText(pen.measureText(wide).width < side + 24 ? wide : "offers", right + 24 + side / 2, bottom + 22);
      pen.save();
      pen.translate(10, (TOP + bottom) / 2);
      pen.rotate(-Math.PI / 2);
      pen.textBaseline = "middle";
      pen.fillText(priceName, 0, 0);
      pen.restore();

      points = [];
      for (const row of rows) {
        const x = toX(offers.number(size, row));
        const y = toY(offers.number(price, row));
        if (Number.isNaN(x) || Number.isNaN(y)) continue;
        points.push({ row, x, y });
      }
      const radius = points.length > 3000 ? 2 : 3.5;
      for (const known of [0, 1]) {
        pen.fillStyle = known ? seen : fresh;
        pen.globalAlpha = points.length > 500 ? 0.55 : 0.8;
        pen.beginPath();
        for (const { row, x, y } of points) {
          if ((offers.number("seen", row) ? 1 : 0) !== known) continue;
          if (known) {
            // seen before: a diamond, so that it is not told by its colour alone
            pen.moveTo(x, y - radius - 1.5);
            pen.lineTo(x + radius + 1.5, y);
            pen.lineTo(x, y + radius + 1.5);
            pen.lineTo(x - radius - 1.5, y);
            pen.closePath();
          } else {
            pen.moveTo(x + radius, y);
            pen.arc(x, y, radius, 0, 7);
          }
        }
        pen.fill();
      }
      pen.globalAlpha = 1;
      if (picked.size) {
        pen.strokeStyle = chosen;
        pen.lineWidth = 2;
        pen.beginPath();
        for (const { row, x, y } of points) {
          if (!picked.has(row)) continue;
          pen.moveTo(x + radius + 3, y);
          pen.arc(x, y, radius + 3, 0, 7);
        }
        pen.stroke();
      }

      const bins = 24;
      const { from, to, counts } = histogram(
        rows.map((row) => offers.number(price, row)),
        bins,
      );
      const highest = Math.max(...counts, 1);
      pen.fillStyle = fresh;
      pen.globalAlpha = 0.75;
      counts.forEach((count, index) => {
        const low = toY(from + ((to - from) * index) / bins);
        const high = toY(from + ((to - from) * (index + 1)) / bins);
        const tall = Math.max(low - high - 1, 1.5);
        pen.fillRect(right + 24, high, (side * count) / highest, tall);
      });
      pen.globalAlpha = 1;
    },

    /**
     * The offer at a place; -1 if there is none.
     * @param {number} x
     * @param {number} y
     * @returns {number}
     */
    at(x, y) {
      let nearest = -1;
      let best = 100;
      for (const point of points) {
        const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
        if (distance < best) {
          best = distance;
          nearest = point.row;
        }
      }
      return nearest;
    },

    /**
     * The offers in a rectangle.
     * @param {number} left
     * @param {number} top
     * @param {number} right
     * @param {number} bottom
     * @returns {number[]}
     */
    within(left, top, right, bottom) {
      return points
        .filter(({ x, y }) => x >= left && x <= right && y >= top && y <= bottom)
        .map(({ row }) => row);
    },
  };
}
