/**
 * Chunks that travel together: read and digested, then compressed, synchronously, in the thread that asks.
 *
 * ```
 * chunks ─► {@link digestParcel} ─► who knows which are new ─► {@link storeParcel} ─► bytes of the blob
 * ```
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import { pread } from "../../../ffi/unistd.ts";
import { type ByteString, fromByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { digest } from "../../blob/codec.ts";
import type { Digester } from "../../rafs/bootstrap.ts";
import { DIGEST_SIZE } from "../../rafs/chunk_table.ts";
import { boundOf, compressInto, type Compression } from "./compression.ts";

/** Where a chunk can be read. */
export interface FileChunk {
  /** Absolute. */
  readonly path: ByteString;
  /** Bytes. */
  readonly offset: number;
  /** The file ends with it. */
  readonly isLast: boolean;
}

/** Plain chunks, one behind the other. */
export interface Parcel {
  /** Room for all; what files give is not there yet. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each chunk. */
  readonly sizes: readonly number[];
  /** For each chunk the file that has it; undefined for one whose bytes are there. */
  readonly files: readonly (FileChunk | undefined)[];
}

/** What is compressed in one go: positions of the chunks in their parcel. */
export type ParcelUnit = readonly number[];

/** Units as they are stored, one behind the other. */
export interface StoredUnits {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each unit. */
  readonly sizes: readonly number[];
}

/**
 * Reads what is in files, and gives the digest of each chunk, one behind the other.
 *
 * @throws {NydusGdError} "io" for a file that is not as long as it was; {SyscallError}
 */
export function digestParcel({ bytes, sizes, files }: Parcel, digester: Digester): Uint8Array<ArrayBuffer> {
  const digests = new Uint8Array(sizes.length * DIGEST_SIZE);
  let at = 0;
  sizes.forEach((size, k) => {
    const plain = bytes.subarray(at, at + size);
    const file = files[k];
    if (file !== undefined) readChunk(file, plain);
    digests.set(digest(digester, plain), k * DIGEST_SIZE);
    at += size;
  });
  return digests;
}

/** A byte behind the end of a file, if there is one. */
const BEYOND = new Uint8Array(1);

function readChunk({ path, offset, isLast }: FileChunk, plain: Uint8Array): void {
  const name = fromByteString(path);
  using file = open(name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
  let done = 0;
  while (done < plain.length) {
    const length = pread(file, done === 0 ? plain : plain.subarray(done), offset + done);
    if (length === 0) throw changed(name);
    done += length;
  }
  if (isLast && pread(file, BEYOND, offset + done) > 0) throw changed(name);
}

function changed(path: Uint8Array): NydusGdError {
  const shown = new TextDecoder().decode(path);
  return new NydusGdError("io", `Cannot convert ${shown}: it changed while it was read`);
}

/** Rooms that are kept between calls: for the stored bytes of a parcel, and for the plain ones of a unit. */
let storedRoom = new Uint8Array(0);
let unitRoom = new Uint8Array(0);

/** Each unit compressed, or as it is where that does not make it smaller. The parcel's memory holds the result. */
export function storeParcel(
  { bytes, sizes }: Parcel,
  units: readonly ParcelUnit[],
  compression: Compression,
): StoredUnits {
  const starts = startsOf(sizes);
  const lengths = units.map((unit) => unit.reduce((sum, k) => sum + (sizes[k] as number), 0));
  const most = lengths.reduce((sum, length) => sum + boundOf(length, compression), 0);
  if (storedRoom.length < most) storedRoom = new Uint8Array(most);
  let to = 0;
  const stored = units.map((unit, n) => {
    const size = lengths[n] as number;
    const plain = plainOf(unit, size, (k) => bytes.subarray(starts[k], starts[k] as number + (sizes[k] as number)));
    let length = compressInto(plain, storedRoom.subarray(to, to + boundOf(size, compression)), compression);
    if (length >= size) {
      storedRoom.set(plain, to);
      length = size;
    }
    to += length;
    return length;
  });
  bytes.set(storedRoom.subarray(0, to)); // never longer than the chunks are
  return { bytes: bytes.subarray(0, to), sizes: stored };
}

function plainOf(unit: ParcelUnit, size: number, chunk: (position: number) => Uint8Array): Uint8Array {
  if (unit.length === 1) return chunk(unit[0] as number);
  if (unitRoom.length < size) unitRoom = new Uint8Array(size);
  let at = 0;
  for (const position of unit) {
    const plain = chunk(position);
    unitRoom.set(plain, at);
    at += plain.length;
  }
  return unitRoom.subarray(0, size);
}

function startsOf(sizes: readonly number[]): number[] {
  let at = 0;
  return sizes.map((size) => {
    const start = at;
    at += size;
    return start;
  });
}
