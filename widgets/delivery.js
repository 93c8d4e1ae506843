// Messages on their way between the kernel and a model.

/** @import { Model } from "./types.d.ts" */

/**
 * Let a model hear its messages again.
 *
 * anywidget hands them on only if the model's module was there within two seconds. In a page that is busy it may
 * not be, and then no message is ever handed on; so they are taken from where anywidget takes them.
 * @param {Model} model
 * @returns {Promise<boolean>} Whether this is a place where that can be done.
 */
export async function reconnect(model) {
  const real = await model.widget_manager?.get_model?.(model.get("_gnb_id"));
  // its class is anywidget's, the one above that is of whoever shows widgets
  const handle = real && Object.getPrototypeOf(Object.getPrototypeOf(real))._handle_comm_msg;
  if (!real?.comm?.on_msg || !handle) return false;
  real.comm.on_msg((/** @type {unknown} */ message) => handle.call(real, message));
  return true;
}

/**
 * Send the kernel a message, if there is one.
 * @param {Model} model
 * @param {unknown} message
 * @param {(ArrayBuffer | ArrayBufferView)[]} [buffers]
 */
export function tell(model, message, buffers) {
  try {
    model.send(message, undefined, buffers);
  } catch {
    // the kernel has died, which the panel says by itself
  }
}
