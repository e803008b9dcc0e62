/**
 * node:crypto for Workers: loaded by who first needs it, as it takes 30 ms of the start of a thread that imports it, and
 * most of them digest nothing by it.
 *
 * @module
 */

/** The module. */
export function nodeCrypto(): typeof import("node:crypto") {
  return globalThis.process.getBuiltinModule("node:crypto");
}
