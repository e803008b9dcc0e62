/**
 * The body of a response: buffers what the connection delivers until a reader is attached.
 *
 * @module
 */

/** Maximum bytes buffered without a reader; beyond that the connection is paused. */
const MAX_UNREAD_BYTES = 256 * 1024;

/** The connection that delivers a body. */
export interface BodySource {
  pause(): void;
  resume(): void;
  /** Closes the connection. */
  giveUp(): void;
}

/** The consumer of a body. */
export interface BodyReader {
  data(piece: Uint8Array): void;
  /** Returns the memory for the next piece, which may still arrive elsewhere. Undefined: no preference. */
  place(): Uint8Array | undefined;
  /** Called once: the body is complete (true), or the connection was lost. */
  end(whole: boolean): void;
}

/** A response body with at most one reader. */
export class ResponseBody {
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #reader: BodyReader | undefined;
  #onArrival: (() => void) | undefined;
  /** Undefined while the body is incomplete. */
  #whole: boolean | undefined;

  constructor(private readonly source: BodySource) {}

  push(piece: Uint8Array): void {
    if (this.#reader !== undefined) return this.#reader.data(piece);
    this.#unread.push(piece);
    this.#unreadBytes += piece.length;
    if (this.isFull) this.source.pause();
    this.#onArrival?.();
  }

  /** Returns the reader's memory for the next piece; undefined: no preference. */
  place(): Uint8Array | undefined {
    return this.#reader?.place();
  }

  /** Whether the buffer is full and no reader is attached: the connection must stay paused. */
  get isFull(): boolean {
    return this.#reader === undefined && this.#unreadBytes > MAX_UNREAD_BYTES;
  }

  end(whole: boolean): void {
    if (this.#whole !== undefined) return;
    this.#whole = whole;
    this.#reader?.end(whole);
    this.#onArrival?.();
  }

  /** Whether all of the body has arrived; undefined while it is not known. */
  get isWhole(): boolean | undefined {
    return this.#whole;
  }

  /** Returns the pieces that are buffered, once there are any; none if the body has ended. Not with a reader. */
  async arrived(): Promise<Uint8Array[]> {
    if (this.#unread.length === 0 && this.#whole === undefined) {
      await new Promise<void>((resolve) => this.#onArrival = resolve);
    }
    const mustResume = this.isFull;
    const pieces = this.#unread.splice(0);
    this.#unreadBytes = 0;
    if (mustResume) this.source.resume();
    return pieces;
  }

  /** Passes all pieces to `reader`, starting with the first one. May be called once. */
  read(reader: BodyReader): void {
    this.#reader = reader;
    for (const piece of this.#unread.splice(0)) reader.data(piece);
    if (this.#whole !== undefined) reader.end(this.#whole);
    else this.source.resume();
  }

  /** Discards the rest of the body. */
  giveUp(): void {
    this.source.giveUp();
  }
}
