// Amounts, durations and counts as people read them. The same rules as golem_nb/ui/text.py.

/**
 * An amount with at least four decimals, and more where it is small.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function amount(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(4, 1 - size), 18));
}

/**
 * A duration, given in seconds, in its two largest units.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function duration(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value < 9.95) return `${Math.max(value, 0).toFixed(1)} s`;
  const units = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  let rest = Math.round(value);
  /** @type {string[]} */
  const parts = [];
  let first = -1;
  units.forEach(([size, name], index) => {
    const number = Math.floor(rest / Number(size));
    rest -= number * Number(size);
    if (first < 0 && (number > 0 || index === units.length - 1)) first = index;
    if (number > 0 && first >= 0 && index < first + 2) parts.push(`${number} ${name}`);
  });
  return parts.join(" ") || "0 s";
}

/**
 * The time of day of a moment in milliseconds since 1970.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function clockTime(value) {
  if (value == null) return "–";
  return new Date(value).toLocaleTimeString([], { hour12: false });
}

/**
 * A count and its noun.
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 * @returns {string}
 */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
