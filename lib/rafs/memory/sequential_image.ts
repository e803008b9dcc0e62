/**
 * An image that is written from its beginning to its end while it is read, so that another thread can compress or store
 * the beginning while the rest is written.
 *
 * ```ts
 * for (const part of writer.begin(blobs).parts(memory)) await file.write(part);
 * ```
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { type ImageMemory, partsOf } from "./image_memory.ts";

/** Reads an image and writes what is missing of it. */
export class SequentialImage {
  /** Bytes from the beginning that are final. */
  #written = 0;

  /** @param writing writes the image; each value is the number of bytes from the beginning that are final, at last all */
  constructor(private readonly bytes: Uint8Array<ArrayBuffer>, private readonly writing: Iterator<number>) {}

  /** Bytes of the whole image. */
  get length(): number {
    return this.bytes.length;
  }

  /** The whole image. @throws errors of the writer */
  whole(): Uint8Array<ArrayBuffer> {
    this.#writeTo(this.length);
    return this.bytes;
  }

  /** Yields the image in consecutive parts, as {@link partsOf}. @throws errors of the writer */
  *parts(memory: ImageMemory): Generator<Uint8Array> {
    let end = 0;
    for (const part of partsOf(this.bytes, memory)) {
      this.#writeTo(end += part.length);
      yield part;
    }
  }

  #writeTo(end: number): void {
    while (this.#written < end) {
      const { value } = this.writing.next();
      if (value === undefined) throw new NydusGdError("internal", "Cannot read an image that could not be written");
      this.#written = value;
    }
  }
}
