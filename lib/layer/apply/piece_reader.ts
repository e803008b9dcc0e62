/**
 * Reads a body in pieces of a size chosen by the caller, collected from the many small chunks of a connection.
 *
 * If the body is a byte stream (as for requests), data is read directly into the piece.
 *
 * @module
 */

/**
 * Least memory for a read of a byte stream. Deno 2.9.6 never answers a read of a chunked request body whose memory is
 * smaller than the line with the size of the next chunk.
 */
const LEAST_BYTES = 4096;

/** Reads one body. Dispose it to release the body's lock. */
export class PieceReader implements Disposable {
  readonly #source: Source;

  constructor(body: ReadableStream<Uint8Array>) {
    this.#source = sourceOf(body);
  }

  /**
   * Returns the next piece: a full `buffer` (of a byte stream up to {@link LEAST_BYTES} less), the rest at the end of
   * the body, then undefined.
   *
   * @param buffer ownership is taken in any case; the piece starts at offset 0 of a buffer of the same size
   * @throws the error of the body
   */
  async next(buffer: ArrayBuffer): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let piece: Filling = { buffer, length: 0, ended: false };
    const { leastBytes } = this.#source;
    do piece = await this.#source.read(piece); while (
      !piece.ended && piece.buffer.byteLength - piece.length >= leastBytes
    );
    return piece.length === 0 ? undefined : new Uint8Array(piece.buffer, 0, piece.length);
  }

  /** Ends a pending read as if the body were complete. */
  cancel(reason: unknown): void {
    this.#source.reader.cancel(reason).catch(() => {}); // next() reports a body that has failed already
  }

  [Symbol.dispose](): void {
    this.#source.reader.releaseLock();
  }
}

/** A piece being filled. */
interface Filling {
  readonly buffer: ArrayBuffer;
  /** Bytes filled so far. */
  readonly length: number;
  readonly ended: boolean;
}

interface Source {
  /** Fewer free bytes are not filled, except of an empty piece. */
  readonly leastBytes: number;
  readonly reader: { cancel(reason: unknown): Promise<void>; releaseLock(): void };
  /** Adds at least one byte, or reports the end of the body. The buffer may be returned as another object. */
  read(piece: Filling): Promise<Filling>;
}

function sourceOf(body: ReadableStream<Uint8Array>): Source {
  try {
    return new ByteSource(body.getReader({ mode: "byob" }));
  } catch (error) {
    if (!(error instanceof TypeError) || body.locked) throw error;
    return new ChunkSource(body.getReader());
  }
}

/** A byte stream: fills the memory that it is given. */
class ByteSource implements Source {
  readonly leastBytes = LEAST_BYTES;

  constructor(readonly reader: ReadableStreamBYOBReader) {}

  async read({ buffer, length }: Filling): Promise<Filling> {
    const { done, value } = await this.reader.read(new Uint8Array(buffer, length));
    // A cancelled read does not return the memory, nor the data in it.
    if (value === undefined) return { buffer: new ArrayBuffer(0), length: 0, ended: true };
    return { buffer: value.buffer, length: length + value.length, ended: done };
  }
}

/** Any other stream: chunks are copied. */
class ChunkSource implements Source {
  readonly leastBytes = 1;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(readonly reader: ReadableStreamDefaultReader<Uint8Array>) {}

  async read({ buffer, length }: Filling): Promise<Filling> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.reader.read();
      if (done) return { buffer, length, ended: true };
      this.#rest = value;
    }
    const taken = this.#rest.subarray(0, buffer.byteLength - length);
    new Uint8Array(buffer, length).set(taken);
    this.#rest = this.#rest.subarray(taken.length);
    return { buffer, length: length + taken.length, ended: false };
  }
}
