/**
 * Page-aligned buffers for writes to the kernel's cache.
 *
 * @module
 */
import { Mapping } from "../../../ffi/sys_mman.ts";

/** Size of a buffer in bytes. */
export const FILL_BYTES = 1024 * 1024;

/** Maximum buffers kept while unused. */
const SPARE = 2;

/** A pool of buffers of {@link FILL_BYTES}; grows to the number in use at once. */
export class FillBuffers implements Disposable {
  readonly #spare: Mapping[] = [];
  #ended = false;

  /** Runs `use` with a buffer of its own. */
  async with<T>(use: (buffer: Mapping) => Promise<T>): Promise<T> {
    const buffer = this.#spare.pop() ?? Mapping.anonymous(FILL_BYTES);
    try {
      return await use(buffer);
    } finally {
      if (!this.#ended && this.#spare.length < SPARE) this.#spare.push(buffer);
      else buffer[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    for (const buffer of this.#spare.splice(0)) buffer[Symbol.dispose]();
  }
}
