// Keys on their way to the kernel, which may take messages that come close together in another order.

/** A message whose receipt is not confirmed by then counts as lost, in milliseconds. */
const LOST = 2000;

/** Sends one message at a time; what is typed meanwhile goes with the next one. */
export class Typing {
  /**
   * @param {(message: { kind: string, text: string, page: string }) => void} send
   * @param {string} page
   */
  constructor(send, page) {
    this.page = page;
    this._send = send;
    this._text = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
  }

  /**
   * Send a text after those before it.
   * @param {string} text
   */
  type(text) {
    this._text += text;
    if (this._timer == null) this._next();
  }

  /** Note that the kernel has taken the last message. */
  taken() {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._next();
  }

  _next() {
    if (!this._text) return;
    const text = this._text;
    this._text = "";
    this._timer = setTimeout(() => this.taken(), LOST);
    this._send({ kind: "keys", text, page: this.page });
  }
}
