// Where the keys go: what has the focus may be hidden, disabled or taken away by what it has done, and then the page
// itself would have it, far from everything.

const CONTROLS = ":is(a[href], button, input, select, summary, textarea, [tabindex]):not([tabindex='-1'])";

/**
 * What has the focus, and which one of its panel's controls it is: an output that is replaced, as at the end of
 * a batch, is another view of the same panel, which takes over.
 * @type {{ uid: string, node: HTMLElement, index: number, home: HTMLElement | null } | null}
 */
let last = null;

/**
 * Whether an element can have the focus at this moment.
 * @param {HTMLElement} node
 * @returns {boolean}
 */
function able(node) {
  return node.isConnected && !node.matches(":disabled") && node.checkVisibility();
}

/**
 * Whether nothing has the focus: no element of the page, nor of a shadow in it.
 * @returns {boolean}
 */
function nowhere() {
  return !document.activeElement || document.activeElement === document.body;
}

/**
 * Keeps the focus in a panel when what had it can have it no longer: a neighbour gets it, first one of the same group
 * of buttons, or the panel itself.
 * @param {HTMLElement} root
 * @param {() => string} uid Of the panel.
 */
export function focusOf(root, uid) {
  /** @type {HTMLElement | null} */
  let held = null;
  /** @type {HTMLElement[]} All that could have it when `held` got it, in their order. */
  let order = [];
  /** @type {HTMLElement | null} What the panel is in, such as a cell. */
  let home = null;
  const controls = () => /** @type {HTMLElement[]} */ ([...root.querySelectorAll(CONTROLS)]);
  const active = () => /** @type {Document | ShadowRoot} */ (root.getRootNode()).activeElement;

  root.addEventListener("focusin", (event) => {
    held = /** @type {HTMLElement} */ (event.target);
    order = controls();
    home = root.parentElement?.closest("[tabindex]") ?? null;
    last = { uid: uid(), node: held, index: order.indexOf(held), home };
  });
  root.addEventListener("focusout", () => {
    // who has gone elsewhere is not called back; what has been taken away loses it, too, but can have it no longer
    setTimeout(() => {
      if (!held || !able(held) || active() === held) return;
      if (last?.node === held) last = null;
      held = null;
    });
  });

  const focus = {
    /**
     * Give an element the focus, or what is next to it if it can have none.
     * @param {HTMLElement} node
     */
    to(node) {
      const at = order.indexOf(node);
      const near = [node, ...order.slice(at + 1), ...order.slice(0, Math.max(at, 0)).reverse()];
      const group = node.closest(".gnb-tools");
      const next = near.find((one) => group?.contains(one) && able(one)) ?? near.find(able) ?? root;
      // the page stays where it is: it is nearby
      next.focus({ preventScroll: true });
    },
    /** What of the panel has the focus; the panel if nothing has. */
    now() {
      const node = active();
      return node && root.contains(node) ? /** @type {HTMLElement} */ (node) : root;
    },
    /** See that the focus is somewhere; where the panel is no longer in the page, what it was in gets it. */
    mend() {
      if (!held || able(held)) return;
      if (!root.isConnected) {
        if (nowhere() && home?.isConnected) home.focus({ preventScroll: true });
        return;
      }
      // browsers take it away only when they draw
      if (nowhere() || active() === held) focus.to(held);
      else held = null;
    },
    /** Take over from another view, which has been taken out of the page; this one has to be in it. */
    inherit() {
      if (last?.uid !== uid() || last.node.isConnected) return;
      if (!nowhere() && document.activeElement !== last.home) return;
      order = controls();
      focus.to(order[last.index] ?? root);
    },
  };
  return focus;
}
