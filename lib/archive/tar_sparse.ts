/**
 * Sparse files in tar: the segments of the logical file that are stored.
 *
 * | dialect | map |
 * |---|---|
 * | old GNU (type "S") | 4 segments in the header, 21 in each extension block after it |
 * | PAX 0.0 | repeated records GNU.sparse.offset and GNU.sparse.numbytes |
 * | PAX 0.1 | one record GNU.sparse.map, "offset,length,…" |
 * | PAX 1.0 | decimal lines before the data: count, then offset and length of each; padded to a block |
 *
 * Source: GNU tar 1.35 manual, "Storing Sparse Files", and `src/tar.h`.
 *
 * @module
 */
import { type ByteString, toByteString } from "../base/bytes.ts";
import { HEADER, MAX_SPECIAL_BYTES, TarError } from "./tar.ts";
import { parseNumber } from "./tar_numbers.ts";
import { parsePaxNumber, type PaxRecord } from "./tar_pax.ts";

/** `length` stored bytes are the logical file's bytes from `offset`. */
export interface SparseSegment {
  readonly offset: number;
  readonly length: number;
}

/** Size of one segment in a GNU header in bytes: offset and length, 12 digits each. */
const GNU_SEGMENT = 24;
/** Offset of the flag "another extension follows" in an extension block. */
const GNU_EXTENSION_MORE = 504;
/** Maximum number of segments: as many as a map of {@link MAX_SPECIAL_BYTES} can list. */
const MAX_SEGMENTS = MAX_SPECIAL_BYTES / 4;

/**
 * Reads the segments of a GNU header or extension block, up to the first empty slot.
 *
 * @returns whether another extension block follows
 */
export function readGnuSegments(
  block: Uint8Array,
  at: number,
  inHeader: boolean,
  segments: SparseSegment[],
): boolean {
  const [start, size] = inHeader ? HEADER.gnuSparse : [0, GNU_EXTENSION_MORE];
  for (let i = start; i < start + size && block[i] !== 0; i += GNU_SEGMENT) {
    segments.push({
      offset: parseNumber(block.subarray(i, i + 12), `sparse offset at ${at + i}`),
      length: parseNumber(block.subarray(i + 12, i + 24), `sparse length at ${at + i + 12}`),
    });
  }
  if (segments.length > MAX_SEGMENTS) throw tooMany(at);
  return block[inHeader ? HEADER.gnuIsExtended[0] : GNU_EXTENSION_MORE] !== 0;
}

/** A sparse file as described by PAX records. */
export interface PaxSparse {
  /** Undefined for version 1.0, whose map precedes the data. */
  readonly segments: SparseSegment[] | undefined;
  /** Size of the logical file in bytes. */
  readonly sizeBytes: number;
  /** The real name, if `path` is a placeholder. */
  readonly name: Uint8Array | undefined;
}

/**
 * The sparse file described by `records`, or undefined.
 *
 * @param records every record of the entry by key, and `ordered` in their order (0.0 repeats its keys)
 * @throws {TarError} "unsupported" for an unknown version
 */
export function paxSparse(
  records: ReadonlyMap<ByteString, Uint8Array>,
  ordered: readonly PaxRecord[],
  at: number,
): PaxSparse | undefined {
  const number = (key: string): number | undefined => {
    const value = records.get(key);
    return value === undefined ? undefined : parsePaxNumber(value, key, at);
  };
  const major = number("GNU.sparse.major");
  const minor = number("GNU.sparse.minor") ?? 0;
  const map = records.get("GNU.sparse.map");
  const pairs = ordered.filter(([key]) => key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes");
  if (major === undefined && map === undefined && pairs.length === 0 && !records.has("GNU.sparse.size")) {
    return undefined;
  }
  const sizeBytes = number("GNU.sparse.realsize") ?? number("GNU.sparse.size");
  if (sizeBytes === undefined) throw new TarError(`Cannot read PAX header at ${at}: a sparse file has no size`);
  const name = records.get("GNU.sparse.name");
  if (major === 1 && minor === 0) return { segments: undefined, sizeBytes, name };
  if (major !== undefined && (major !== 0 || minor > 1)) {
    throw new TarError(
      `Cannot read PAX header at ${at}: GNU sparse version ${major}.${minor} is not supported`,
      "unsupported",
    );
  }
  const numbers = map !== undefined
    ? map.length === 0 ? [] : toByteString(map).split(",").map((text) => sparseNumber(text, at))
    : pairsInOrder(pairs, at);
  return { segments: toSegments(numbers, at), sizeBytes, name };
}

/** Reads a map of version 1.0 block by block: decimal lines, starting with the number of segments. */
export class SparseMapReader {
  readonly #numbers: number[] = [];
  #count: number | undefined;
  #line = "";
  #bytes = 0;

  /** @param at offset of the entry's header, for messages */
  constructor(readonly at: number) {}

  /**
   * Processes the next block of the entry's data.
   *
   * @returns undefined if another block is needed
   * @throws {TarError}
   */
  push(block: Uint8Array): SparseSegment[] | undefined {
    this.#bytes += block.length;
    const lines = (this.#line + toByteString(block)).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) {
      const value = sparseNumber(line, this.at);
      if (this.#count !== undefined) this.#numbers.push(value);
      else if (value > MAX_SEGMENTS) throw tooMany(this.at);
      else this.#count = value;
      if (this.#numbers.length === 2 * this.#count) {
        return toSegments(this.#numbers, this.at);
      }
    }
    if (this.#bytes >= MAX_SPECIAL_BYTES) throw tooMany(this.at);
    if (this.#line.length > 0) sparseNumber(this.#line.replace(/\0+$/, ""), this.at);
    return undefined;
  }
}

/**
 * Validates a map: segments are in order, do not overlap, lie within the file, and add up to the stored size.
 *
 * @throws {TarError}
 */
export function checkSegments(
  segments: readonly SparseSegment[],
  sizeBytes: number,
  storedBytes: number,
  at: number,
): void {
  let end = 0;
  let stored = 0;
  for (const { offset, length } of segments) {
    if (offset < end || length < 0 || length > sizeBytes - offset) {
      throw new TarError(
        `Cannot read sparse file at ${at}: segment ${offset}+${length} does not fit after ${end} in ${sizeBytes} bytes`,
      );
    }
    end = offset + length;
    stored += length;
  }
  if (stored !== storedBytes) {
    throw new TarError(`Cannot read sparse file at ${at}: the map has ${stored} bytes, the data ${storedBytes}`);
  }
}

function pairsInOrder(pairs: readonly PaxRecord[], at: number): number[] {
  return pairs.map(([key, value], i) => {
    const expected = i % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes";
    if (key !== expected) throw new TarError(`Cannot read PAX header at ${at}: found ${key}, expected ${expected}`);
    return parsePaxNumber(value, key, at);
  });
}

function toSegments(numbers: readonly number[], at: number): SparseSegment[] {
  if (numbers.length % 2 !== 0) throw new TarError(`Cannot read sparse map at ${at}: the last offset has no length`);
  if (numbers.length > 2 * MAX_SEGMENTS) throw tooMany(at);
  const segments: SparseSegment[] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    segments.push({ offset: numbers[i] as number, length: numbers[i + 1] as number });
  }
  return segments;
}

function sparseNumber(text: string, at: number): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) {
    throw new TarError(`Cannot read sparse map at ${at}: ${JSON.stringify(text.slice(0, 40))} is not a number`);
  }
  return value;
}

function tooMany(at: number): TarError {
  return new TarError(`Cannot read sparse map at ${at}: it exceeds ${MAX_SPECIAL_BYTES} bytes`);
}
