/**
 * Memory at a page, from which the kernel's cache takes what is written to it.
 *
 * @module
 */
import { Mapping } from "../../../ffi/sys_mman.ts";

/** Bytes of a buffer. */
export const FILL_BYTES = 1024 * 1024;

/** Buffers that are kept while nobody fills anything. */
const SPARE = 2;

/** Buffers of {@link FILL_BYTES}: as many as are in use at once. */
export class FillBuffers implements Disposable {
  readonly #spare: Mapping[] = [];
  #ended = false;

  /** One for `use` alone. */
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
