// Offers as columns: filtered, sorted and counted where they are shown. The same rules as golem_nb/ui/offers.py.

/**
 * @typedef {object} Filters
 * @property {number | null} [max_price]
 * @property {number | null} [min_threads]
 * @property {number | null} [min_memory]
 * @property {number | null} [min_storage]
 * @property {string} [runtime]
 * @property {string} [subnet]
 * @property {string} [capability]
 * @property {string} [name]
 * @property {boolean} [seen]
 * @property {number | null} [cheapest]
 */

/** Offers that grow and change, column by column. */
export class Offers {
  constructor() {
    this.length = 0;
    /** @type {Record<string, Float64Array>} */
    this.numbers = {};
    /** @type {Record<string, string[]>} */
    this.texts = {};
  }

  /**
   * Put rows in their places.
   * @param {Uint32Array} rows
   * @param {string[]} columns
   * @param {Float64Array} values Column after column.
   * @param {Record<string, string[]>} texts
   */
  put(rows, columns, values, texts) {
    for (const row of rows) this.length = Math.max(this.length, row + 1);
    columns.forEach((name, column) => {
      let target = this.numbers[name];
      if (!target || target.length < this.length) {
        const grown = new Float64Array(Math.max(this.length, 2 * (target?.length ?? 512))).fill(NaN);
        if (target) grown.set(target);
        target = this.numbers[name] = grown;
      }
      rows.forEach((row, index) => {
        target[row] = values[column * rows.length + index];
      });
    });
    for (const [name, part] of Object.entries(texts)) {
      const target = (this.texts[name] ??= []);
      rows.forEach((row, index) => {
        target[row] = part[index];
      });
    }
  }

  /**
   * One number of an offer.
   * @param {string} name
   * @param {number} row
   * @returns {number}
   */
  number(name, row) {
    return this.numbers[name]?.[row] ?? NaN;
  }

  /**
   * One text of an offer.
   * @param {string} name
   * @param {number} row
   * @returns {string}
   */
  text(name, row) {
    return this.texts[name]?.[row] ?? "";
  }
}

/**
 * What was typed into a field for a quantity; null for nothing, and for what can be none.
 * @param {string} text
 * @returns {number | null}
 */
export function quantity(text) {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) && value >= 0 ? value : null;
}

/**
 * The rows that meet the filters.
 * @param {Offers} offers
 * @param {Filters} filters
 * @returns {number[]}
 */
export function matching(offers, filters) {
  const { max_price, min_threads, min_memory, min_storage, runtime, subnet, seen, cheapest } = filters;
  const capability = filters.capability?.toLowerCase();
  const name = filters.name?.toLowerCase();
  const found = [];
  for (let row = 0; row < offers.length; row++) {
    if (max_price != null && !(offers.number("price_full_hour", row) <= max_price)) continue;
    if (min_threads != null && !(offers.number("threads", row) >= min_threads)) continue;
    if (min_memory != null && !(offers.number("memory", row) >= min_memory)) continue;
    if (min_storage != null && !(offers.number("storage", row) >= min_storage)) continue;
    if (runtime && offers.text("runtime", row) !== runtime) continue;
    if (subnet && offers.text("subnet", row) !== subnet) continue;
    if (capability && !offers.text("capabilities", row).toLowerCase().includes(capability)) continue;
    if (name && !offers.text("provider", row).toLowerCase().includes(name)) continue;
    if (seen && !offers.number("seen", row)) continue;
    found.push(row);
  }
  if (cheapest == null) return found;
  return sorted(offers, found, "price_full_hour", 1).slice(0, Math.trunc(cheapest));
}

/**
 * Rows in the order of a column; those without a value come last.
 * @param {Offers} offers
 * @param {number[]} rows
 * @param {string} column
 * @param {1 | -1} direction
 * @param {((row: number) => number) | null} [value] The value of a row, if the column is no column of offers.
 * @returns {number[]}
 */
export function sorted(offers, rows, column, direction, value = null) {
  if (!value && column in offers.texts) {
    const keys = offers.texts[column].map((text) => text.toLowerCase());
    return rows.slice().sort((a, b) => direction * (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : 0) || a - b);
  }
  const of = value ?? ((row) => offers.number(column, row));
  return rows.slice().sort((a, b) => {
    const x = of(a);
    const y = of(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
    return direction * (x - y) || a - b;
  });
}

/**
 * What a job costs on one offer alone, GLM.
 * @param {Offers} offers
 * @param {number} row
 * @param {{ items: number, seconds: number, threads: number }} job
 * @returns {number}
 */
export function jobCost(offers, row, { items, seconds, threads }) {
  const busy = Math.min(threads, offers.number("threads", row));
  const hours = (items * seconds) / 3600;
  return (
    offers.number("price_start", row) +
    hours * (offers.number("price_hour", row) + busy * offers.number("price_cpu_hour", row))
  );
}

/**
 * How many values fall into each of some equal intervals.
 * @param {number[]} values
 * @param {number} bins
 * @returns {{ from: number, to: number, counts: number[] }}
 */
export function histogram(values, bins) {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return { from: 0, to: 1, counts: [] };
  let from = Infinity;
  let to = -Infinity;
  for (const value of finite) {
    if (value < from) from = value;
    if (value > to) to = value;
  }
  const counts = new Array(bins).fill(0);
  const width = (to - from) / bins || 1;
  for (const value of finite) counts[Math.min(bins - 1, Math.floor((value - from) / width))]++;
  return { from, to, counts };
}

/**
 * The middle one of some numbers; NaN of none.
 * @param {number[]} values
 * @returns {number}
 */
export function median(values) {
  const finite = values.filter(Number.isFinite).sort((a, b) => a - b);
  return finite.length ? finite[Math.floor((finite.length - 1) / 2)] : NaN;
}

/**
 * Ticks of an axis from zero: round numbers.
 * @param {number} to
 * @param {number} [count]
 * @returns {number[]}
 */
export function ticks(to, count = 4) {
  if (!(to > 0)) return [0];
  const raw = to / count;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= raw) ?? raw;
  const found = [];
  for (let n = 0; n * step <= to * 1.0001; n++) found.push(n * step);
  return found;
}
