/**
 * Chunks that are processed together: read and digested, then compressed; synchronous, in the calling thread.
 *
 * ```
 * chunks ─► {@link digestParcel} ─► caller selects new ones ─► {@link storeParcel} ─► bytes of the blob
 * ```
 * @module
 */
import { isErrno } from "../../../../ffi/errno.ts";
import { O, open } from "../../../../ffi/fcntl.ts";
import type { Fd } from "../../../../ffi/fd.ts";
import { fstat, type Stat } from "../../../../ffi/sys_stat.ts";
import { pread } from "../../../../ffi/unistd.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { digest } from "../../../blob/codec/codec.ts";
import type { Digester } from "../../../rafs/bootstrap.ts";
import { DIGEST_SIZE } from "../../../rafs/blob/chunk_table.ts";
import { boundOf, compressInto, type Compression } from "../format/compression.ts";
import { ShortPath } from "./short_path.ts";

/** Location of a chunk in a file. */
export interface FileChunk {
  /** Absolute. */
  readonly path: Uint8Array<ArrayBuffer>;
  /** Bytes. */
  readonly offset: number;
  /** The file when it was listed. */
  readonly listed: FileVersion;
}

/**
 * What tells whether a file changed: every write, even one that sets back its time, has the kernel set the ctime. Not
 * the inode: a file by another name in its place has another ctime, too, and some file systems number inodes anew.
 */
export type FileVersion = Pick<Stat, "size" | "ctimeSec" | "ctimeNsec">;

/** Locations of the chunks of a parcel, in columns: there may be ten thousand of them. */
export interface FileChunks {
  /** Concatenated paths; empty for a chunk whose bytes are in the parcel. */
  readonly paths: Uint8Array<ArrayBuffer>;
  /** End of each chunk's path. */
  readonly pathEnds: Uint32Array<ArrayBuffer>;
  readonly offsets: Float64Array<ArrayBuffer>;
  /** {@link FileVersion} of each chunk's file. */
  readonly fileSizes: Float64Array<ArrayBuffer>;
  readonly ctimeSecs: Float64Array<ArrayBuffer>;
  readonly ctimeNsecs: Uint32Array<ArrayBuffer>;
}

/** Plain chunks, concatenated. */
export interface Parcel {
  /** Room for all chunks; those in files are not read yet. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each chunk. */
  readonly sizes: Uint32Array<ArrayBuffer>;
  /** Undefined if all bytes are present. */
  readonly files: FileChunks | undefined;
}

/** Units to compress, each of one or more chunks. */
export interface ParcelUnits {
  /** Positions of the chunks in their parcel. */
  readonly positions: Uint32Array<ArrayBuffer>;
  /** For each unit, the end of its {@link positions}. */
  readonly ends: Uint32Array<ArrayBuffer>;
}

/** Stored units, concatenated. */
export interface StoredUnits {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each unit. */
  readonly sizes: Uint32Array<ArrayBuffer>;
}

/**
 * Reads chunks that are in files and returns the concatenated digests of all chunks.
 *
 * @throws {NydusGdError} "io" if a file is gone or has changed; {SyscallError}
 */
export function digestParcel({ bytes, sizes, files }: Parcel, digester: Digester): Uint8Array<ArrayBuffer> {
  const digests = new Uint8Array(sizes.length * DIGEST_SIZE);
  let at = 0;
  let pathAt = 0;
  sizes.forEach((size, k) => {
    const plain = bytes.subarray(at, at + size);
    const pathEnd = files?.pathEnds[k] ?? pathAt;
    if (files !== undefined && pathEnd > pathAt) {
      const path = files.paths.subarray(pathAt, pathEnd);
      readChunk({ path, offset: files.offsets[k] as number, listed: versionOf(files, k) }, plain);
    }
    pathAt = pathEnd;
    digests.set(digest(digester, plain), k * DIGEST_SIZE);
    at += size;
  });
  return digests;
}

function versionOf({ fileSizes, ctimeSecs, ctimeNsecs }: FileChunks, k: number): FileVersion {
  return { size: fileSizes[k] as number, ctimeSec: ctimeSecs[k] as number, ctimeNsec: ctimeNsecs[k] as number };
}

function readChunk({ path, offset, listed }: FileChunk, plain: Uint8Array): void {
  using file = openFile(path);
  let done = 0;
  while (done < plain.length) {
    const length = pread(file, done === 0 ? plain : plain.subarray(done), offset + done);
    if (length === 0) throw changed(path);
    done += length;
  }
  if (!isVersion(fstat(file), listed)) throw changed(path); // other chunks may be read before, later, or now
}

function isVersion({ size, ctimeSec, ctimeNsec }: FileVersion, listed: FileVersion): boolean {
  return size === listed.size && Number(ctimeSec) === listed.ctimeSec && ctimeNsec === listed.ctimeNsec;
}

function openFile(path: Uint8Array<ArrayBuffer>): Fd {
  try {
    using way = ShortPath.to(path);
    return open(way.path, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
  } catch (error) {
    throw isErrno(error, ...GONE) ? changed(path, error) : error;
  }
}

/** Errors of a path that was removed or replaced after it was listed. */
export const GONE = ["ENOENT", "ENOTDIR", "ELOOP"] as const;

/** The error for a file or folder that others changed meanwhile. */
export function changed(path: Uint8Array, cause?: unknown): NydusGdError {
  const shown = new TextDecoder().decode(path).replace(/\/\.(?=\/|$)/, ""); // a walk begins at "."
  return new NydusGdError("io", `Cannot convert ${shown}: it changed while it was read`, { cause });
}

/** Buffers reused between calls, for the stored bytes of a parcel and the plain bytes of a unit. */
let storedRoom = new Uint8Array(0);
let unitRoom = new Uint8Array(0);

/** Compresses each unit, or leaves it as it is if it would not shrink. The result is in the parcel's memory. */
export function storeParcel({ bytes, sizes }: Parcel, units: ParcelUnits, compression: Compression): StoredUnits {
  const starts = startsOf(sizes);
  const { positions, ends } = units;
  const lengths = new Uint32Array(ends.length);
  let most = 0;
  ends.forEach((end, n) => {
    let length = 0;
    for (let k = n === 0 ? 0 : ends[n - 1] as number; k < end; k++) length += sizes[positions[k] as number] as number;
    lengths[n] = length;
    most += boundOf(length, compression);
  });
  if (storedRoom.length < most) storedRoom = new Uint8Array(most);
  const chunk = (position: number) => {
    const start = starts[position] as number;
    return bytes.subarray(start, start + (sizes[position] as number));
  };
  let from = 0;
  let to = 0;
  const stored = lengths.map((size, n) => {
    const end = ends[n] as number;
    const plain = plainOf(positions.subarray(from, end), size, chunk);
    from = end;
    let length = compressInto(plain, storedRoom.subarray(to, to + boundOf(size, compression)), compression);
    if (length >= size) {
      storedRoom.set(plain, to);
      length = size;
    }
    to += length;
    return length;
  });
  bytes.set(storedRoom.subarray(0, to)); // never longer than the chunks
  return { bytes: bytes.subarray(0, to), sizes: stored };
}

function plainOf(unit: Uint32Array, size: number, chunk: (position: number) => Uint8Array): Uint8Array {
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

function startsOf(sizes: Uint32Array): Uint32Array {
  let at = 0;
  return sizes.map((size) => {
    const start = at;
    at += size;
    return start;
  });
}
