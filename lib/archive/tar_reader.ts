/**
 * Reads a tar that comes in pieces, whatever their size, and calls a visitor for each entry and its data.
 *
 * A push parser: {@link TarReader.push} takes the next piece, {@link TarReader.finish} says that there are no more.
 * Nothing is read ahead and no data is copied, so an archive of any size takes the memory of one extended header.
 *
 * Understood: old v7, ustar with prefix, GNU (long names, base-256 numbers, sparse), star, PAX (global headers apply
 * to all that follow; size, path, times with nanoseconds, extended attributes, sparse 0.0, 0.1 and 1.0). The end is two
 * zero blocks, or the end of the stream where a header would start (or inside the padding before it, which some writers
 * leave out); what follows the end is counted and ignored.
 *
 * Failure: {@link TarError} with the offset in the archive. After one, the reader is of no more use. Limits:
 * {@link MAX_SPECIAL_BYTES} for extended headers and sparse maps, `MAX_NAME_BYTES` for names, 2^53-1 for numbers.
 * Entry types that hold no file (multi-volume, volume label, …) are refused by name.
 *
 * ```ts
 * const reader = new TarReader({ entry: (entry) => console.log(entry.type), data: () => {}, endEntry: () => {} });
 * for await (const piece of stream) reader.push(piece);
 * reader.finish();
 * ```
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";
import { BLOCK_SIZE, HEADER, MAX_SPECIAL_BYTES, paddingOf, type TarEntry, TarError } from "./tar.ts";
import { isZeroBlock, parseHeader, type RawHeader } from "./tar_header.ts";
import { type MergedEntry, mergeHeaders } from "./tar_merge.ts";
import { parseNumber } from "./tar_numbers.ts";
import { parsePaxRecords, type PaxRecord } from "./tar_pax.ts";
import { checkSegments, readGnuSegments, SparseMapReader, type SparseSegment } from "./tar_sparse.ts";

/** What a {@link TarReader} calls, in the order of the archive. What a visitor throws comes out of `push`. */
export interface TarVisitor {
  /** @param at offset of the entry's own header in the archive */
  entry(entry: TarEntry, at: number): void;
  /**
   * Data of the current entry: `piece` stands at `offset` of the logical file. Offsets ascend; what no piece covers is a
   * hole. The view is the visitor's only during the call.
   */
  data(piece: Uint8Array, offset: number): void;
  /** The current entry's data is complete. */
  endEntry(): void;
}

/** Headers about the next entry: PAX, global PAX, Solaris's PAX, GNU long link, GNU long name. */
const SPECIAL = "xgXKL";

/** What the next bytes are. */
type State = "header" | "special" | "gnu-sparse" | "sparse-map" | "data" | "padding" | "end";

const EMPTY = new Uint8Array(0);

/** The parser. See the module comment. */
export class TarReader {
  readonly #visitor: TarVisitor;
  #state: State = "header";
  /** Bytes consumed. */
  #offset = 0;
  /** Bytes left of the current special header, data or padding. */
  #left = 0;
  #zeroBlocks = 0;
  /** What has come of a block or special header that arrives in parts. */
  #gathered = EMPTY;
  #gatheredBytes = 0;

  /** The header block in hand, its offset, and what stood before it. */
  #header: RawHeader | undefined;
  #headerAt = 0;
  readonly #global = new Map<ByteString, Uint8Array>();
  #local: PaxRecord[] = [];
  #longName: Uint8Array | undefined;
  #longLink: Uint8Array | undefined;
  #gnuSparse: { sizeBytes: number; segments: SparseSegment[] } | undefined;

  /** The entry whose data come. */
  #merged: MergedEntry | undefined;
  #map: SparseMapReader | undefined;
  /** Undefined: the data are the file. */
  #segments: readonly SparseSegment[] | undefined;
  #nextSegment = 0;
  #segmentLeft = 0;
  /** Position in the logical file. */
  #position = 0;

  constructor(visitor: TarVisitor) {
    this.#visitor = visitor;
  }

  /** Bytes consumed so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Whether the end marker has been read; what comes now is ignored. */
  get ended(): boolean {
    return this.#state === "end";
  }

  /**
   * Consumes the next piece.
   *
   * @throws {TarError} and what the visitor throws
   */
  push(piece: Uint8Array): void {
    for (let at = 0; at < piece.length;) {
      const rest = at === 0 ? piece : piece.subarray(at);
      const taken = this.#take(rest);
      at += taken;
    }
  }

  /**
   * Passes over what is left of the current entry's data and the padding behind it; the visitor gets none of it. Before
   * or between pieces.
   *
   * @returns bytes of the archive that the next piece begins later
   */
  skip(): number {
    const from = this.#offset;
    if (this.#state === "data") {
      this.#offset += this.#left;
      this.#endData();
    }
    if (this.#state === "padding") {
      this.#offset += this.#left;
      this.#skipPadding(0);
    }
    return this.#offset - from;
  }

  /**
   * Says that the stream is over.
   *
   * @throws {TarError} when it ended inside an entry
   */
  finish(): void {
    if (this.#state === "end") return;
    if (this.#state === "data") {
      throw new TarError(
        `Cannot read tar at ${this.#offset}: the stream ends ${this.#left} bytes before its file does`,
      );
    }
    if (this.#gatheredBytes > 0 || this.#state !== "header" && this.#state !== "padding") {
      throw new TarError(`Cannot read tar at ${this.#offset}: the stream ends inside a header`);
    }
    this.#refuseOrphans(this.#offset);
  }

  /** Consumes a part of `bytes` that is not empty: how many. */
  #take(bytes: Uint8Array): number {
    switch (this.#state) {
      case "end":
        this.#offset += bytes.length;
        return bytes.length;
      case "padding": {
        const taken = Math.min(bytes.length, this.#left);
        this.#offset += taken;
        this.#skipPadding(this.#left - taken);
        return taken;
      }
      case "data":
        return this.#takeData(bytes);
      default:
        return this.#gather(bytes, this.#state === "special" ? this.#left : BLOCK_SIZE);
    }
  }

  /** Takes bytes until there are `want` of them, then acts on the whole. */
  #gather(bytes: Uint8Array, want: number): number {
    const taken = Math.min(bytes.length, want - this.#gatheredBytes);
    this.#offset += taken;
    if (taken === want) {
      this.#onWhole(bytes.subarray(0, want));
      return taken;
    }
    if (this.#gathered.length < want) {
      const grown = new Uint8Array(want);
      grown.set(this.#gathered.subarray(0, this.#gatheredBytes));
      this.#gathered = grown;
    }
    this.#gathered.set(bytes.subarray(0, taken), this.#gatheredBytes);
    this.#gatheredBytes += taken;
    if (this.#gatheredBytes === want) {
      this.#gatheredBytes = 0;
      this.#onWhole(this.#gathered.subarray(0, want));
    }
    return taken;
  }

  /** `bytes` is valid during the call only. */
  #onWhole(bytes: Uint8Array): void {
    switch (this.#state) {
      case "header":
        return this.#onHeader(bytes);
      case "special":
        return this.#onSpecial(bytes.slice());
      case "gnu-sparse":
        return this.#onGnuExtension(bytes);
      default:
        return this.#onSparseMap(bytes);
    }
  }

  #onHeader(block: Uint8Array): void {
    const at = this.#offset - BLOCK_SIZE;
    if (isZeroBlock(block)) {
      this.#refuseOrphans(at);
      if (++this.#zeroBlocks === 2) this.#state = "end";
      return;
    }
    if (this.#zeroBlocks > 0) throw new TarError(`Cannot read tar header at ${at}: it follows a single zero block`);
    const header = parseHeader(block, at);
    this.#header = header;
    this.#headerAt = at;
    if (SPECIAL.includes(header.typeFlag)) return this.#beginSpecial(header.size);
    if (header.typeFlag !== "S") return this.#begin(header);
    const [start, length] = HEADER.gnuRealSize;
    const sizeBytes = parseNumber(block.subarray(start, start + length), `real size at ${at + start}`);
    this.#gnuSparse = { sizeBytes, segments: [] };
    if (readGnuSegments(block, at, true, this.#gnuSparse.segments)) this.#state = "gnu-sparse";
    else this.#begin(header);
  }

  #beginSpecial(sizeBytes: number): void {
    if (sizeBytes > MAX_SPECIAL_BYTES) {
      const state = `extended header of ${sizeBytes} bytes exceeds ${MAX_SPECIAL_BYTES}`;
      throw new TarError(`Cannot read tar header at ${this.#headerAt}: ${state}`);
    }
    this.#state = "special";
    this.#left = sizeBytes;
    if (sizeBytes === 0) this.#onSpecial(EMPTY);
  }

  #onSpecial(bytes: Uint8Array): void {
    const at = this.#headerAt + BLOCK_SIZE;
    switch (this.#header?.typeFlag) {
      case "g":
        for (const [key, value] of parsePaxRecords(bytes, at)) this.#global.set(key, value);
        break;
      case "L":
        this.#longName = untilNul(bytes);
        break;
      case "K":
        this.#longLink = untilNul(bytes);
        break;
      default:
        this.#local.push(...parsePaxRecords(bytes, at));
    }
    this.#skipPadding(paddingOf(bytes.length));
  }

  #onGnuExtension(block: Uint8Array): void {
    const at = this.#offset - BLOCK_SIZE;
    if (readGnuSegments(block, at, false, (this.#gnuSparse as { segments: SparseSegment[] }).segments)) return;
    this.#begin(this.#header as RawHeader);
  }

  /** All headers of an entry are here. */
  #begin(header: RawHeader): void {
    this.#merged = mergeHeaders({
      header,
      global: this.#global,
      local: this.#local,
      longName: this.#longName,
      longLink: this.#longLink,
      gnuSparse: this.#gnuSparse,
      at: this.#headerAt,
    });
    if (this.#local.length > 0) this.#local = [];
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#gnuSparse = undefined;
    this.#left = this.#merged.storedBytes;
    if (this.#merged.segments === "follow") {
      this.#state = "sparse-map";
      this.#map = new SparseMapReader(this.#headerAt);
    } else {
      this.#beginData(this.#merged.entry, this.#merged.segments);
    }
  }

  #onSparseMap(block: Uint8Array): void {
    const { entry } = this.#merged as MergedEntry;
    if (this.#left < BLOCK_SIZE) {
      throw new TarError(`Cannot read sparse map at ${this.#headerAt}: it exceeds its entry`);
    }
    this.#left -= BLOCK_SIZE;
    const segments = this.#map?.push(block);
    if (segments !== undefined) this.#beginData(entry, segments);
  }

  #beginData(entry: TarEntry, segments: readonly SparseSegment[] | undefined): void {
    if (segments !== undefined) checkSegments(segments, entry.sizeBytes, this.#left, this.#headerAt);
    this.#segments = segments;
    this.#nextSegment = 0;
    this.#segmentLeft = segments === undefined ? this.#left : 0;
    this.#position = 0;
    this.#visitor.entry(entry, this.#headerAt);
    this.#state = "data";
    if (this.#left === 0) this.#endData();
  }

  #takeData(bytes: Uint8Array): number {
    while (this.#segmentLeft === 0) {
      // checkSegments has proven that the segments hold exactly the bytes that are left.
      const segment = this.#segments?.[this.#nextSegment++] as SparseSegment;
      this.#position = segment.offset;
      this.#segmentLeft = segment.length;
    }
    const taken = Math.min(bytes.length, this.#segmentLeft);
    this.#visitor.data(taken === bytes.length ? bytes : bytes.subarray(0, taken), this.#position);
    this.#offset += taken;
    this.#position += taken;
    this.#segmentLeft -= taken;
    this.#left -= taken;
    if (this.#left === 0) this.#endData();
    return taken;
  }

  #endData(): void {
    this.#visitor.endEntry();
    this.#skipPadding(paddingOf((this.#merged as MergedEntry).storedBytes));
  }

  #skipPadding(bytes: number): void {
    this.#left = bytes;
    this.#state = bytes === 0 ? "header" : "padding";
  }

  #refuseOrphans(at: number): void {
    if (this.#local.length === 0 && this.#longName === undefined && this.#longLink === undefined) return;
    throw new TarError(`Cannot read tar at ${at}: an extended header stands before no entry`);
  }
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
