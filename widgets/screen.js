// The screen of a terminal: what a program writes, as rows of characters with colours. It understands what shells
// and editors use of the escape sequences of terminals and leaves out all else: titles, links, clipboards and
// questions to the terminal have no effect and no answer.

/**
 * How a character looks: colours as numbers from 0 to 255 or as "#rrggbb", -1 for the page's own.
 * @typedef {{ ink: number | string, paper: number | string, bold: boolean, dim: boolean, under: boolean, turned: boolean }} Look
 */

/** @type {Look} */
const PLAIN = { ink: -1, paper: -1, bold: false, dim: false, under: false, turned: false };

/** Rows above the screen that can be scrolled back to. */
export const SCROLLBACK = 1000;

/**
 * The columns that a character takes.
 * @param {number} code
 * @returns {0 | 1 | 2}
 */
export function columnsOf(code) {
  if (code < 0x300) return 1;
  // marks that combine, and characters that would change the direction of the text around them
  if (code <= 0x36f || (code >= 0x200b && code <= 0x200f) || (code >= 0x202a && code <= 0x202e)) return 0;
  if ((code >= 0x2060 && code <= 0x206f) || code === 0xfeff || (code >= 0xfe00 && code <= 0xfe0f)) return 0;
  if (
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0x1f300 && code <= 0x1faff)
  ) {
    return 2;
  }
  return 1;
}

/**
 * The characters of a row.
 * @typedef {{ text: string, look: Look }[]} Line
 */

/** A screen of a terminal. */
export class Screen {
  /** @type {Line[]} */
  lines = [];
  /** @type {Line[]} */
  past = [];
  x = 0;
  y = 0;
  look = PLAIN;
  top = 0;
  bottom = 0;
  saved = { x: 0, y: 0, look: PLAIN };
  /** @type {{ lines: Line[], x: number, y: number } | null} The shell's screen while an editor has its own. */
  main = null;
  cursorShown = true;
  /** Whether arrow keys are sent in the way of applications. */
  application = false;
  bracketed = false;
  /** The beginning of a sequence whose end has not come yet. */
  pending = "";
  /** Whether the last column is full, so that the next character begins a line. */
  wrapNext = false;

  /**
   * @param {number} columns
   * @param {number} rows
   */
  constructor(columns, rows) {
    this.columns = columns;
    this.rows = rows;
    this.reset();
  }

  reset() {
    this.lines = [];
    this.past = [];
    [this.x, this.y] = [0, 0];
    this.look = PLAIN;
    [this.top, this.bottom] = [0, this.rows - 1];
    this.saved = { x: 0, y: 0, look: PLAIN };
    this.main = null;
    this.cursorShown = true;
    this.application = this.bracketed = this.wrapNext = false;
    this.pending = "";
    for (let row = 0; row < this.rows; row++) this.lines.push([]);
  }

  /**
   * Change the size; what is on the screen stays.
   * @param {number} columns
   * @param {number} rows
   */
  resize(columns, rows) {
    if (columns === this.columns && rows === this.rows) return;
    this.columns = columns;
    while (this.lines.length > rows) {
      if (this.y < this.lines.length - 1 && !this.lines[this.lines.length - 1].length) this.lines.pop();
      else {
        this.keep(this.lines.shift() ?? []);
        this.y = Math.max(0, this.y - 1);
      }
    }
    while (this.lines.length < rows) this.lines.push([]);
    this.rows = rows;
    this.top = 0;
    this.bottom = rows - 1;
    this.x = Math.min(this.x, columns - 1);
    this.y = Math.min(this.y, rows - 1);
  }

  /** @param {Line} line */
  keep(line) {
    if (this.main) return;
    this.past.push(line);
    if (this.past.length > SCROLLBACK) this.past.splice(0, this.past.length - SCROLLBACK);
  }

  /**
   * Take what a program has written.
   * @param {string} text
   */
  write(text) {
    text = this.pending + text;
    this.pending = "";
    let at = 0;
    while (at < text.length) {
      const code = /** @type {number} */ (text.codePointAt(at));
      const char = String.fromCodePoint(code);
      if (code === 0x1b) {
        const used = this.escape(text, at);
        if (used < 0) {
          // the rest of a sequence comes with the next piece, unless it never ends
          this.pending = text.length - at < 4096 ? text.slice(at) : "";
          return;
        }
        at += used;
        continue;
      }
      at += char.length;
      if (code < 0x20 || (code >= 0x7f && code < 0xa0)) this.control(code);
      else this.put(char, code);
    }
  }

  /** @param {number} code */
  control(code) {
    if (code === 0x0d) this.x = 0;
    else if (code === 0x0a || code === 0x0b || code === 0x0c) this.feed();
    else if (code === 0x08) this.x = Math.max(0, this.x - 1);
    else if (code === 0x09) this.x = Math.min(this.columns - 1, (Math.floor(this.x / 8) + 1) * 8);
    else return;
    this.wrapNext = false;
  }

  /**
   * @param {string} char
   * @param {number} code
   */
  put(char, code) {
    const width = columnsOf(code);
    if (width === 0) {
      const line = this.lines[this.y];
      const before = line[this.x - 1];
      // only true combining marks are added, and not without end
      if (code <= 0x36f && before && before.text.length < 8) before.text += char;
      return;
    }
    if (this.wrapNext || this.x + width > this.columns) {
      this.x = 0;
      this.feed();
    }
    this.wrapNext = false;
    const line = this.lines[this.y];
    while (line.length < this.x) line.push({ text: " ", look: PLAIN });
    line[this.x] = { text: char, look: this.look };
    if (width === 2) line[this.x + 1] = { text: "", look: this.look };
    this.x += width;
    if (this.x >= this.columns) {
      this.x = this.columns - 1;
      this.wrapNext = true;
    }
  }

  feed() {
    if (this.y === this.bottom) this.scroll(1);
    else this.y = Math.min(this.rows - 1, this.y + 1);
  }

  /** @param {number} count Lines up; down if negative. */
  scroll(count) {
    for (let n = 0; n < Math.min(Math.abs(count), this.rows); n++) {
      if (count > 0) {
        const [line] = this.lines.splice(this.top, 1);
        if (this.top === 0) this.keep(line);
        this.lines.splice(this.bottom, 0, []);
      } else {
        this.lines.splice(this.bottom, 1);
        this.lines.splice(this.top, 0, []);
      }
    }
  }

  /**
   * Understand an escape sequence; returns how long it is, -1 if it is not complete.
   * @param {string} text
   * @param {number} at
   * @returns {number}
   */
  escape(text, at) {
    const kind = text[at + 1];
    if (kind === undefined) return -1;
    if (kind === "[") {
      let end = at + 2;
      while (end < text.length && text.charCodeAt(end) >= 0x20 && text.charCodeAt(end) < 0x40) end++;
      if (end >= text.length) return -1;
      this.sequence(text.slice(at + 2, end), text[end]);
      return end + 1 - at;
    }
    if ("]PX^_".includes(kind)) {
      // a string for the terminal itself: a title, a link, the clipboard; none of it is wanted
      for (let end = at + 2; end < text.length; end++) {
        if (text[end] === "\x07") return end + 1 - at;
        if (text[end] === "\x1b" && text[end + 1] === "\\") return end + 2 - at;
      }
      return -1;
    }
    if ("()*+#%".includes(kind)) return text[at + 2] === undefined ? -1 : 3;
    if (kind === "7") this.saved = { x: this.x, y: this.y, look: this.look };
    else if (kind === "8") ({ x: this.x, y: this.y, look: this.look } = this.saved);
    else if (kind === "D") this.feed();
    else if (kind === "E") {
      this.x = 0;
      this.feed();
    } else if (kind === "M") {
      if (this.y === this.top) this.scroll(-1);
      else this.y = Math.max(0, this.y - 1);
    } else if (kind === "c") this.reset();
    return 2;
  }

  /**
   * @param {string} parameters
   * @param {string} final
   */
  sequence(parameters, final) {
    const secret = parameters.startsWith("?");
    const values = parameters.replace(/[^\d;:]/g, "").split(/[;:]/).map((part) => Number.parseInt(part, 10));
    const one = Math.min(Math.max(values[0] || 1, 1), 10_000);
    const last = { x: this.columns - 1, y: this.rows - 1 };
    this.wrapNext = false;
    if (secret) {
      if (final === "h" || final === "l") for (const value of values) this.mode(value, final === "h");
      return;
    }
    switch (final) {
      case "A":
        this.y = Math.max(0, this.y - one);
        break;
      case "B":
      case "e":
        this.y = Math.min(last.y, this.y + one);
        break;
      case "C":
      case "a":
        this.x = Math.min(last.x, this.x + one);
        break;
      case "D":
        this.x = Math.max(0, this.x - one);
        break;
      case "E":
        this.x = 0;
        this.y = Math.min(last.y, this.y + one);
        break;
      case "F":
        this.x = 0;
        this.y = Math.max(0, this.y - one);
        break;
      case "G":
      case "`":
        this.x = Math.min(last.x, one - 1);
        break;
      case "d":
        this.y = Math.min(last.y, one - 1);
        break;
      case "H":
      case "f":
        this.y = Math.min(last.y, one - 1);
        this.x = Math.min(last.x, Math.max(values[1] || 1, 1) - 1);
        break;
      case "J":
        this.eraseScreen(values[0] || 0);
        break;
      case "K":
        this.eraseLine(values[0] || 0);
        break;
      case "L":
      case "M":
        this.moveLines(final === "L" ? one : -one);
        break;
      case "P":
        this.lines[this.y].splice(this.x, one);
        break;
      case "@":
        if (this.lines[this.y].length > this.x) {
          const blanks = Array.from({ length: Math.min(one, this.columns) }, () => ({ text: " ", look: this.look }));
          this.lines[this.y].splice(this.x, 0, ...blanks);
          this.lines[this.y].length = Math.min(this.lines[this.y].length, this.columns);
        }
        break;
      case "X":
        for (let n = this.x; n < Math.min(this.x + one, this.lines[this.y].length); n++) {
          this.lines[this.y][n] = { text: " ", look: this.look };
        }
        break;
      case "S":
        this.scroll(one);
        break;
      case "T":
        this.scroll(-one);
        break;
      case "m":
        this.style(values);
        break;
      case "r":
        this.top = Math.min(last.y, (values[0] || 1) - 1);
        this.bottom = Math.min(last.y, (values[1] || this.rows) - 1);
        if (this.top >= this.bottom) [this.top, this.bottom] = [0, last.y];
        [this.x, this.y] = [0, 0];
        break;
      case "s":
        this.saved = { x: this.x, y: this.y, look: this.look };
        break;
      case "u":
        ({ x: this.x, y: this.y, look: this.look } = this.saved);
        break;
    }
  }

  /**
   * @param {number} value
   * @param {boolean} on
   */
  mode(value, on) {
    if (value === 25) this.cursorShown = on;
    else if (value === 1) this.application = on;
    else if (value === 2004) this.bracketed = on;
    else if (value === 1049 || value === 47 || value === 1047) {
      if (on && !this.main) {
        this.main = { lines: this.lines, x: this.x, y: this.y };
        this.lines = Array.from({ length: this.rows }, () => []);
      } else if (!on && this.main) {
        ({ lines: this.lines, x: this.x, y: this.y } = this.main);
        this.main = null;
        // the size may have changed in between
        while (this.lines.length < this.rows) this.lines.push([]);
        for (const line of this.lines.splice(0, this.lines.length - this.rows)) this.keep(line);
        this.y = Math.min(this.y, this.rows - 1);
        this.x = Math.min(this.x, this.columns - 1);
      }
    }
  }

  /** @param {number} count Lines in; out if negative. */
  moveLines(count) {
    if (this.y < this.top || this.y > this.bottom) return;
    for (let n = 0; n < Math.min(Math.abs(count), this.rows); n++) {
      if (count > 0) {
        this.lines.splice(this.bottom, 1);
        this.lines.splice(this.y, 0, []);
      } else {
        this.lines.splice(this.y, 1);
        this.lines.splice(this.bottom, 0, []);
      }
    }
  }

  /** @param {number} what */
  eraseLine(what) {
    const line = this.lines[this.y];
    if (what === 0) line.length = Math.min(line.length, this.x);
    else {
      const end = what === 1 ? Math.min(this.x + 1, line.length) : line.length;
      for (let n = 0; n < end; n++) line[n] = { text: " ", look: PLAIN };
      if (what === 2) line.length = 0;
    }
  }

  /** @param {number} what */
  eraseScreen(what) {
    if (what === 3) {
      this.past = [];
      return;
    }
    this.eraseLine(what);
    for (let row = 0; row < this.rows; row++) {
      if ((what === 0 && row > this.y) || (what === 1 && row < this.y) || what === 2) this.lines[row] = [];
    }
  }

  /** @param {number[]} values */
  style(values) {
    const look = { ...this.look };
    for (let n = 0; n < values.length; n++) {
      const value = values[n] || 0;
      if (value === 0) Object.assign(look, PLAIN);
      else if (value === 1) look.bold = true;
      else if (value === 2) look.dim = true;
      else if (value === 4) look.under = true;
      else if (value === 7) look.turned = true;
      else if (value === 22) look.bold = look.dim = false;
      else if (value === 24) look.under = false;
      else if (value === 27) look.turned = false;
      else if (value >= 30 && value <= 37) look.ink = value - 30;
      else if (value >= 90 && value <= 97) look.ink = value - 82;
      else if (value >= 40 && value <= 47) look.paper = value - 40;
      else if (value >= 100 && value <= 107) look.paper = value - 92;
      else if (value === 39) look.ink = -1;
      else if (value === 49) look.paper = -1;
      else if (value === 38 || value === 48) {
        /** @type {number | string} */
        let colour = -1;
        if (values[n + 1] === 5) {
          colour = Math.min(Math.max(values[n + 2] || 0, 0), 255);
          n += 2;
        } else if (values[n + 1] === 2) {
          const parts = values.slice(n + 2, n + 5).map((part) => Math.min(Math.max(part || 0, 0), 255));
          colour = `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
          n += 4;
        }
        if (value === 38) look.ink = colour;
        else look.paper = colour;
      }
    }
    this.look = look;
  }

  /**
   * A row as stretches of one look; the cursor is a stretch of its own.
   * @param {Line} line
   * @param {number} [cursor] Its column, if it is in this row.
   * @returns {{ text: string, look: Look, cursor: boolean }[]}
   */
  stretches(line, cursor = -1) {
    /** @type {{ text: string, look: Look, cursor: boolean }[]} */
    const found = [];
    for (let n = 0; n < Math.max(line.length, cursor + 1); n++) {
      const { text, look } = line[n] ?? { text: " ", look: PLAIN };
      const here = n === cursor;
      const before = found[found.length - 1];
      if (before && before.look === look && !here && !before.cursor) before.text += text;
      else found.push({ text, look, cursor: here });
    }
    return found;
  }

  /** All that can be seen, as text. */
  get text() {
    return this.lines.map((line) => line.map(({ text }) => text).join("").trimEnd()).join("\n").trimEnd();
  }
}
