/**
 * Inflates a gzip layer and keeps track of where inflating could start later: where a deflate block begins, and what
 * precedes it.
 *
 * ```
 * gzip   │ header │ block │ block ▼        │ … │ trailer │ header │ block …
 * tar              └ window ──────┘ │ piece │ piece │           a member begins without a window
 * ```
 * A piece never extends over the end of a block, so each belongs to one block of one member. Zeros after the last member
 * are padding, and ignored with all that follows them, as by zlib's reader in the runtime. Offsets are in bytes of the
 * layer ("in") and of the tar ("out").
 *
 * Source: zlib.h 1.2.13, examples/zran.c.
 *
 * @module
 */
import { Inflate, WINDOW_BYTES, ZlibError } from "../../../../ffi/libz.ts";
import { concatenate } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";

/** Bytes of a piece: how exactly positions in the layer are known. */
const PIECE_BYTES = 32 << 10;

/** The beginning of a deflate block. */
export interface GzipBlock {
  /** Offset of the first whole byte; high `bits` of the `byte` before it belong to the block, too. */
  readonly in: number;
  readonly out: number;
  readonly bits: number;
  readonly byte: number;
}

/** Inflated bytes. */
export interface GzipPiece {
  readonly bytes: Uint8Array;
  readonly out: number;
  /** Bytes of the layer that were read before the piece was complete, and before it was begun. */
  readonly inEnd: number;
  readonly inStart: number;
  /** Whether it is the first one of a member. */
  readonly beginsMember: boolean;
}

const NO_PIECE: GzipPiece = { bytes: new Uint8Array(0), out: 0, inEnd: 0, inStart: 0, beginsMember: true };

/** Walks through one layer. */
export class GzipWalk {
  readonly #window = new Uint8Array(WINDOW_BYTES);
  #windowBytes = 0;
  #block: GzipBlock = { in: 0, out: 0, bits: 0, byte: 0 };
  #piece = NO_PIECE;
  #in = 0;
  #out = 0;
  #lastByte = 0;
  #whenNext: ((piece: GzipPiece) => void) | undefined;
  /** What comes next: a member or nothing, more of a member, nothing of interest. */
  #state: "start" | "member" | "between" | "after" = "start";
  #beginsMember = true;
  /** What was read of the layer from {@link #storedFrom} on. */
  readonly #stored: Uint8Array[] = [];
  #storedFrom = 0;

  /** @param keep awaited for each piece of the layer, before it is inflated */
  constructor(private readonly keep: (stored: Uint8Array<ArrayBuffer>) => Promise<void> = () => Promise.resolve()) {}

  /** The piece that was yielded last. */
  get piece(): GzipPiece {
    return this.#piece;
  }

  /** The block that it belongs to. */
  get block(): GzipBlock {
    return this.#block;
  }

  /** Returns a copy of the bytes that precede {@link block}, as far as it may refer to them. */
  copyWindow(): Uint8Array<ArrayBuffer> {
    return this.#window.slice(0, this.#windowBytes);
  }

  /** Bytes of the layer. They must have been read, and not be forgotten. */
  storedAt(offset: number, length: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let from = this.#storedFrom;
    for (const bytes of this.#stored) {
      const part = bytes.subarray(Math.max(0, offset - from), Math.max(0, offset + length - from));
      if (part.length > 0) parts.push(part);
      from += bytes.length;
    }
    return parts.length === 1 ? parts[0] as Uint8Array : concatenate(parts);
  }

  /** Forgets the layer before `offset`. */
  forget(offset: number): void {
    for (let [first] = this.#stored; first !== undefined; [first] = this.#stored) {
      if (this.#storedFrom + first.length > offset) return;
      this.#storedFrom += first.length;
      this.#stored.shift();
    }
  }

  /** Has the next piece passed to `take`, before it is yielded. */
  whenNext(take: (piece: GzipPiece) => void): void {
    this.#whenNext = take;
  }

  /** Offset in the tar of a part of {@link piece}. */
  outOf(part: Uint8Array): number {
    const { bytes, out } = this.#piece;
    const at = part.byteOffset - bytes.byteOffset;
    if (part.buffer === bytes.buffer && at >= 0 && at < bytes.length) return out + at;
    throw new NydusGdError("internal", "Cannot index layer: the tar reader copies data");
  }

  /**
   * Yields the tar in pieces, each valid until the next is requested.
   *
   * @param stored the layer in pieces that stay unchanged
   * @throws {ZlibError} for a damaged layer; what `stored` throws
   */
  async *inflate(stored: AsyncIterable<Uint8Array<ArrayBuffer>>): AsyncGenerator<Uint8Array> {
    using stream = Inflate.open("gzip");
    const room = new Uint8Array(PIECE_BYTES);
    for await (const bytes of stored) {
      await this.keep(bytes);
      if (this.#state === "after") continue;
      this.#stored.push(bytes);
      yield* this.#inflatePart(stream, bytes, room);
    }
    if (this.#state === "between" || this.#state === "after") return;
    throw new ZlibError(`Cannot inflate: the layer ends after ${this.#in} bytes within a gzip member`);
  }

  *#inflatePart(stream: Inflate, bytes: Uint8Array, room: Uint8Array<ArrayBuffer>): Generator<Uint8Array> {
    let at = 0, isFull = false;
    while (at < bytes.length || isFull) {
      if (this.#state === "between") this.#beginMember(stream, bytes[at] as number);
      if (this.#state === "after") return;
      const { read, written, ended, blockBits } = stream.runBlock(bytes.subarray(at), room);
      this.#state = ended ? "between" : "member";
      at += read;
      if (read > 0) this.#lastByte = bytes[at - 1] as number;
      if (written > 0) yield this.#nextPiece(room.subarray(0, written), read);
      else this.#in += read;
      if (blockBits !== undefined) this.#beginBlock(stream, blockBits);
      isFull = written === room.length && !ended;
    }
  }

  #beginMember(stream: Inflate, first: number): void {
    this.#state = first === 0 ? "after" : "member";
    if (this.#state === "after") return;
    stream.reset();
    this.#beginsMember = true;
  }

  #nextPiece(bytes: Uint8Array, read: number): Uint8Array {
    const beginsMember = this.#beginsMember;
    this.#piece = { bytes, out: this.#out, inStart: this.#in, inEnd: this.#in + read, beginsMember };
    this.#beginsMember = false;
    this.#in += read;
    this.#out += bytes.length;
    const take = this.#whenNext;
    this.#whenNext = undefined;
    take?.(this.#piece);
    return bytes;
  }

  #beginBlock(stream: Inflate, bits: number): void {
    this.#block = { in: this.#in, out: this.#out, bits, byte: bits === 0 ? 0 : this.#lastByte };
    this.#windowBytes = stream.copyWindow(this.#window);
  }
}
