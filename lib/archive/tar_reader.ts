/**
 * Streaming tar reader: takes pieces of any size, and calls a visitor for each entry and its data.
 *
 * A push parser: pass each piece to {@link TarReader.push}, then call {@link TarReader.finish}. Nothing is read ahead
 * and no data is copied, so memory is bounded by one extended header, whatever the size of the archive.
 *
 * Supported: old v7, ustar with prefix, GNU (long names, base-256 numbers, sparse), star, PAX (global headers apply to
 * all following entries; size, path, times with nanoseconds, extended attributes, sparse 0.0, 0.1 and 1.0). The tar of
 * a layer is read by layer_reader.ts. The archive ends with two zero blocks, or with the stream where a header would
 * start (or within the padding before it, which some writers omit). Anything after the end is counted and ignored.
 *
 * Failure: {@link TarError} with the offset in the archive; the reader cannot be used afterwards. Limits:
 * {@link MAX_SPECIAL_BYTES} for extended headers and sparse maps, `MAX_NAME_BYTES` for names, 2^53-1 for numbers. Entry
 * types that are not files (multi-volume, volume label, …) are refused by name.
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

/** Callbacks of a {@link TarReader}, in archive order. Exceptions propagate through `push`. */
export interface TarVisitor {
  /** @param at offset of the entry's own header in the archive */
  entry(entry: TarEntry, at: number): void;
  /**
   * Data of the current entry: `piece` belongs at `offset` of the logical file. Offsets ascend; ranges without a piece
   * are holes. The view is valid only during the call.
   */
  data(piece: Uint8Array, offset: number): void;
  /** The current entry's data is complete. */
  endEntry(): void;
}

/** Type flags of headers for the next entry: PAX, global PAX, Solaris's PAX, GNU long link, GNU long name. */
const SPECIAL = "xgXKL";

/** What the next bytes are. */
type State = "header" | "special" | "gnu-sparse" | "sparse-map" | "data" | "padding" | "end";

const EMPTY = new Uint8Array(0);

/** Options of a {@link TarReader}. */
export interface TarReaderOptions {
  /** Whether extended headers are understood as by Go's archive/tar: layer_reader.ts. */
  readonly isLayer?: boolean;
}

/** Push parser of one archive. */
export class TarReader {
  readonly #visitor: TarVisitor;
  readonly #isLayer: boolean;
  #state: State = "header";
  /** Bytes consumed. */
  #offset = 0;
  /** Bytes left of the current special header, data or padding. */
  #left = 0;
  #zeroBlocks = 0;
  /** Received part of a block or special header that arrives in pieces. */
  #gathered = EMPTY;
  #gatheredBytes = 0;

  /** The current header block, its offset, and the extended headers before it. */
  #header: RawHeader | undefined;
  #headerAt = 0;
  readonly #global = new Map<ByteString, Uint8Array>();
  #local: PaxRecord[] = [];
  #longName: Uint8Array | undefined;
  #longLink: Uint8Array | undefined;
  #gnuSparse: { sizeBytes: number; segments: SparseSegment[] } | undefined;

  /** The entry whose data is being read. */
  #merged: MergedEntry | undefined;
  #map: SparseMapReader | undefined;
  /** Undefined if the data is the whole file. */
  #segments: readonly SparseSegment[] | undefined;
  #nextSegment = 0;
  #segmentLeft = 0;
  /** Position in the logical file. */
  #position = 0;

  constructor(visitor: TarVisitor, { isLayer = false }: TarReaderOptions = {}) {
    this.#visitor = visitor;
    this.#isLayer = isLayer;
  }

  /** Whether the end marker has been read; further input is ignored. */
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
   * Skips the rest of the current entry's data and padding, without calling the visitor. To be called before or between
   * pieces.
   *
   * @returns number of bytes of the archive to omit before the next piece
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
   * Ends the input.
   *
   * @throws {TarError} if it ended within an entry
   */
  finish(): void {
    if (this.#state === "end") return;
    if (this.#state === "data") {
      throw new TarError(
        `Cannot read tar at ${this.#offset}: the stream ends ${this.#left} bytes before the end of a file`,
      );
    }
    if (this.#gatheredBytes > 0 || this.#state !== "header" && this.#state !== "padding") {
      throw new TarError(`Cannot read tar at ${this.#offset}: the stream ends inside a header`);
    }
    this.#refuseOrphans(this.#offset);
  }

  /** Consumes a part of `bytes`, which is not empty; returns its length. */
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

  /** Collects `want` bytes, then processes them. */
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

  /** `bytes` is valid only during the call. */
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
      case "g": {
        const records = parsePaxRecords(bytes, at); // which are refused when they are damaged, used or not
        for (const [key, value] of this.#isLayer ? [] : records) this.#global.set(key, value);
        break;
      }
      case "L":
        this.#longName = untilNul(bytes);
        break;
      case "K":
        this.#longLink = untilNul(bytes);
        break;
      default:
        if (this.#isLayer) this.#local = [];
        this.#local.push(...parsePaxRecords(bytes, at));
    }
    this.#skipPadding(paddingOf(bytes.length));
  }

  #onGnuExtension(block: Uint8Array): void {
    const at = this.#offset - BLOCK_SIZE;
    if (readGnuSegments(block, at, false, (this.#gnuSparse as { segments: SparseSegment[] }).segments)) return;
    this.#begin(this.#header as RawHeader);
  }

  /** All headers of an entry have been read. */
  #begin(header: RawHeader): void {
    this.#merged = mergeHeaders({
      header,
      global: this.#global,
      local: this.#local,
      longName: this.#longName,
      longLink: this.#longLink,
      gnuSparse: this.#gnuSparse,
      isLayer: this.#isLayer,
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
      // checkSegments has verified that the segments cover exactly the remaining bytes.
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
    throw new TarError(`Cannot read tar at ${at}: an extended header is not followed by an entry`);
  }
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
