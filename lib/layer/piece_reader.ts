/**
 * A body in pieces of a size that the reader chooses, gathered from the many small ones that a connection gives.
 *
 * Where the body is a stream of bytes (those of requests are), data are read straight into the piece.
 *
 * @module
 */

/** Reads one body. Dispose it to give the body's lock back. */
export class PieceReader implements Disposable {
  readonly #source: Source;

  constructor(body: ReadableStream<Uint8Array>) {
    this.#source = sourceOf(body);
  }

  /**
   * The next piece: all of `buffer`, at the end of the body what is left; undefined afterwards.
   *
   * @param buffer taken over, whatever comes of it; the piece stands at the start of one of the same size
   * @throws what the body fails with
   */
  async next(buffer: ArrayBuffer): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let piece: Filling = { buffer, length: 0, ended: false };
    do piece = await this.#source.read(piece); while (!piece.ended && piece.length < piece.buffer.byteLength);
    return piece.length === 0 ? undefined : new Uint8Array(piece.buffer, 0, piece.length);
  }

  /** Ends a read that waits, as if the body were over. */
  cancel(reason: unknown): void {
    this.#source.reader.cancel(reason).catch(() => {}); // a body that failed already says so in next()
  }

  [Symbol.dispose](): void {
    this.#source.reader.releaseLock();
  }
}

/** A piece that is being gathered. */
interface Filling {
  readonly buffer: ArrayBuffer;
  /** Bytes of it that are there. */
  readonly length: number;
  readonly ended: boolean;
}

interface Source {
  readonly reader: { cancel(reason: unknown): Promise<void>; releaseLock(): void };
  /** Adds at least one byte, or says that the body has ended. The buffer may come back as another object. */
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

/** A stream of bytes: it fills the memory that it is given. */
class ByteSource implements Source {
  constructor(readonly reader: ReadableStreamBYOBReader) {}

  async read({ buffer, length }: Filling): Promise<Filling> {
    const { done, value } = await this.reader.read(new Uint8Array(buffer, length));
    // A cancelled read keeps the memory, and what was gathered in it.
    if (value === undefined) return { buffer: new ArrayBuffer(0), length: 0, ended: true };
    return { buffer: value.buffer, length: length + value.length, ended: done };
  }
}

/** Any other stream: its chunks are copied. */
class ChunkSource implements Source {
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
