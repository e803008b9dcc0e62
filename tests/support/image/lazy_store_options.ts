/**
 * Options of a lazy image store that looks for nothing, records nothing and tells nobody.
 *
 * @module
 */
import type { LazyImageStoreOptions } from "../../../lib/image/lazy/lazy_image_options.ts";

/** What tests of other options leave as it is. */
export const PASSIVE_STORE = {
  whenPlaced: () => Promise.resolve(),
  requireIdmaps: () => {},
  prefetch: () => undefined,
  recorder: undefined,
  commandOf: () => undefined,
  onArrived: () => {},
  onForgotten: () => Promise.resolve(),
  validate: () => false,
} as const satisfies Partial<LazyImageStoreOptions>;
