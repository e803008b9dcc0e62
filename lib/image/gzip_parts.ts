/**
 * gzip of data that arrives in parts. Each part is one write to zlib: the output depends on the sizes of the parts, so
 * that callers who want the same bytes cut the same parts.
 *
 * The runtime compresses in the calling thread.
 *
 * @module
 */
import { nodeZlib } from "../base/node_modules.ts";

/** Size of output buffers, on which the output depends as well. */
const PACKED_BYTES = 64 << 10;

/** Compresses parts, all of one stream. */
export type Pack = (parts: Iterable<Uint8Array>) => Promise<Uint8Array[]>;

/** A stream without a timestamp: the same parts yield the same output. */
export class GzipParts {
  readonly #gzip = nodeZlib().createGzip({ chunkSize: PACKED_BYTES });
  #made: Uint8Array[] = [];

  constructor() {
    this.#gzip.on("data", (piece: Uint8Array) => this.#made.push(piece));
  }

  /** Adds a part, which may be reused afterwards. */
  async add(part: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#gzip.write(part, (error) => error ? reject(error) : resolve());
    await promise;
  }

  /** Ends the stream. */
  async end(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#gzip.once("end", resolve).once("error", reject).end();
    await promise;
  }

  /** Returns the output since the last call. */
  take(): Uint8Array[] {
    const made = this.#made;
    this.#made = [];
    return made;
  }
}

/** Compresses in the calling thread. @throws errors of `parts` */
export async function packHere(parts: Iterable<Uint8Array>): Promise<Uint8Array[]> {
  const gzip = new GzipParts();
  for (const part of parts) await gzip.add(part);
  await gzip.end();
  return gzip.take();
}
