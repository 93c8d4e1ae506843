// Elements made of data. Text is only ever set as text: nothing that a provider sends is read as HTML.

/**
 * What JupyterLab's shortcuts leave alone. Its shortcuts of one letter, of which two delete a cell, are meant for
 * whatever has the focus in a notebook, so each element that can have it needs this.
 */
const OWN_KEYS = "data-lm-suppress-shortcuts";

/** Elements that can have the focus. */
const FOCUSABLE = new Set(["a", "button", "input", "select", "summary", "textarea"]);

/**
 * An element with properties and children.
 *
 * Names that begin with "on" are listeners, "data" holds data attributes, true and false set and leave out
 * an attribute.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else put(node, name, value);
  }
  if (FOCUSABLE.has(tag) || "tabindex" in properties) node.setAttribute(OWN_KEYS, "true");
  for (const child of children) if (child != null) node.append(child);
  return node;
}

/**
 * Set an attribute if it differs; null and false remove it.
 * @param {Element} node
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function put(node, name, value) {
  if (value == null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

/**
 * Set the text of an element if it differs.
 * @param {Element} node
 * @param {string | number} text
 */
export function write(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

/**
 * Make the children of an element those of `rows`, in order, and touch only what differs.
 * @template R
 * @template {Element} N
 * @param {Element} parent
 * @param {[string, R][]} rows
 * @param {(key: string) => N} create
 * @param {(node: N, row: R, key: string) => void} update
 */
export function keyed(parent, rows, create, update) {
  /** @type {Map<string, N>} */
  const nodes = /** @type {any} */ (parent).gnbNodes ?? new Map();
  /** @type {any} */ (parent).gnbNodes = nodes;
  const wanted = new Set(rows.map(([key]) => key));
  for (const [key, node] of nodes) {
    if (!wanted.has(key)) {
      node.remove();
      nodes.delete(key);
    }
  }
  let place = parent.firstElementChild;
  for (const [key, row] of rows) {
    let node = nodes.get(key);
    if (!node) {
      node = create(key);
      nodes.set(key, node);
    }
    update(node, row, key);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
}
