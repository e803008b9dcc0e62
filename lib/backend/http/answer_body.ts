/**
 * The body of an answer, between the connection that brings it and the one who reads it, who may come later.
 *
 * @module
 */

/** Bytes that nobody reads yet; then the connection waits. */
const MAX_UNREAD_BYTES = 256 * 1024;

/** The connection's side. */
export interface BodySource {
  pause(): void;
  resume(): void;
  /** Ends the connection. */
  giveUp(): void;
}

/** Who gets a body. */
export interface BodyReader {
  data(piece: Uint8Array): void;
  /** Where the next piece is wanted; it may come elsewhere all the same. Undefined: anywhere. */
  place?(): Uint8Array | undefined;
  /** Called once: the body is whole (true), or the connection was lost. */
  end(whole: boolean): void;
}

/** See the module. */
export class AnswerBody {
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #reader: BodyReader | undefined;
  /** Undefined: more is to come. */
  #whole: boolean | undefined;

  constructor(private readonly source: BodySource) {}

  push(piece: Uint8Array): void {
    if (this.#reader !== undefined) return this.#reader.data(piece);
    this.#unread.push(piece);
    this.#unreadBytes += piece.length;
    if (this.isFull) this.source.pause();
  }

  /** Where the next piece is wanted; undefined: anywhere. */
  place(): Uint8Array | undefined {
    return this.#reader?.place?.();
  }

  /** Whether more is to come only when somebody reads. */
  get isFull(): boolean {
    return this.#reader === undefined && this.#unreadBytes > MAX_UNREAD_BYTES;
  }

  end(whole: boolean): void {
    if (this.#whole !== undefined) return;
    this.#whole = whole;
    this.#reader?.end(whole);
  }

  /** Hands over each piece, from the first one on. Once. */
  read(reader: BodyReader): void {
    this.#reader = reader;
    for (const piece of this.#unread.splice(0)) reader.data(piece);
    if (this.#whole !== undefined) reader.end(this.#whole);
    else this.source.resume();
  }

  /** Nobody wants the rest. */
  giveUp(): void {
    this.source.giveUp();
  }
}
