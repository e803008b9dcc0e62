/**
 * Evidence for the bits of the chunk map: the digest against which this program verified a cached chunk, and its place.
 *
 * ```
 *  0  "NGDVRFY2" │ u32 digester │ u32 chunks │ u64 inode of the data file │ i64 its birth in ms │ i64 seal
 * 40  description of the blob, 16 bytes │ zeros
 * 64  48 bytes per chunk: digest │ u64 offset in the data file │ u32 bytes │ zeros        all zeros: never verified
 * ```
 * Little-endian, in `<name>.blob.verified` beside nydusd's own files. A digest is written only after the chunk's data
 * is on disk. The header identifies the data file: after it was replaced, restored or copied, it is a different file
 * and the old records do not apply. The seal is the ctime of the data file in nanoseconds when digests were last
 * recorded: if the file was written to since, by another program or by this one before it was killed, the records no
 * longer apply. A header that does not match is no error: the file starts empty, and cached chunks are read back and
 * verified when next needed. Corruption by the disk itself is not detected.
 *
 * A description of the same blob that places a chunk elsewhere would overwrite verified data. It is refused: see
 * {@link VerifiedDigests.matching}.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { ftruncate, pread, preadExact, pwriteAll } from "../../../ffi/unistd.ts";
import { equalBytes } from "../../base/bytes.ts";
import { DIGESTER, type Digester } from "../../rafs/bootstrap.ts";
import { isDigestKnown } from "../../rafs/blob/chunk_digests.ts";
import { type ChunkColumns, DIGEST_SIZE } from "../../rafs/blob/chunk_table.ts";
import { bitmapSize, setBit } from "./bits.ts";
import { DESCRIPTION_LENGTH } from "./blob_names.ts";
import { CacheFile, type FileIdentity } from "./cache_file.ts";
import { PlaceIndex } from "../tables/chunk_index.ts";

/** Byte offsets of the header. */
export const VERIFIED = {
  HEADER_SIZE: 64,
  magic: 0,
  digester: 8,
  count: 12,
  inode: 16,
  born: 24,
  seal: 32,
  description: 40,
} as const;

/** Byte offsets in a row. */
export const VERIFIED_ROW = { SIZE: 48, digest: 0, offset: 32, size: 40 } as const;

const MAGIC = new TextEncoder().encode("NGDVRFY2");

/** Number of chunks whose rows are compared per read. */
const STRIDE = 32768;

/** The recorded columns of a chunk table. */
export type CheckedColumns = Pick<ChunkColumns, "count" | "digests" | "uncompressedOffset" | "uncompressedSize">;

/** Expected contents of the header. */
export interface VerifiedSubject {
  readonly digester: Digester;
  readonly count: number;
  readonly data: FileIdentity;
  /** Current ctime of the data file, nanoseconds since 1970. */
  readonly changedNs: bigint;
  /** See {@link BlobNames}. */
  readonly description: string;
}

/** The file of verified digests of one blob. */
export class VerifiedDigests implements Disposable {
  #seal: bigint;

  private constructor(
    private readonly file: CacheFile,
    private readonly count: number,
    seal: bigint,
    /** Whether nothing vouches for what the data file holds. */
    readonly isNew: boolean,
  ) {
    this.#seal = seal;
  }

  /** The description of the blob recorded in the file; undefined if there is none. */
  static descriptionIn(path: string): string | undefined {
    const header = new Uint8Array(VERIFIED.HEADER_SIZE);
    try {
      using file = open(path, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
      if (pread(file, header, 0) !== header.length) return undefined;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return undefined; // the error is reported when the file is opened
    }
    if (!equalBytes(header.subarray(0, MAGIC.length), MAGIC)) return undefined;
    return header.subarray(VERIFIED.description, VERIFIED.description + DESCRIPTION_LENGTH / 2).toHex();
  }

  /** Opens the file; a file for a different subject is emptied first. */
  static async open(path: string, subject: VerifiedSubject): Promise<VerifiedDigests> {
    const file = CacheFile.open(path);
    try {
      const size = VERIFIED.HEADER_SIZE + subject.count * VERIFIED_ROW.SIZE;
      const expected = encodeHeader(subject);
      const header = new Uint8Array(VERIFIED.HEADER_SIZE);
      const isNew = file.sizeBytes !== size || pread(file.fd, header, 0) !== header.length ||
        !equalBytes(header, expected);
      if (isNew) {
        if (file.sizeBytes > 0) {
          // old digests must be durably gone before a header vouches for what follows it
          ftruncate(file.fd, 0);
          await file.syncData();
        }
        ftruncate(file.fd, size);
        pwriteAll(file.fd, expected, 0);
      }
      return new VerifiedDigests(file, subject.count, subject.changedNs, isNew);
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * One bit per chunk, set if it was verified against the digest in `columns`; unknown digests never match. Undefined
   * if a recorded chunk has another place in `columns`, or another chunk has its place: the descriptions contradict
   * each other.
   *
   * @param dataSize size of the data file in bytes; records of places beyond its end are damage
   */
  matching(columns: CheckedColumns, dataSize: number): Uint8Array<ArrayBuffer> | undefined {
    const bits = new Uint8Array(bitmapSize(columns.count));
    let index: PlaceIndex | undefined;
    for (const { row, digest, offset, size } of this.#checked()) {
      if (offset + size > dataSize) continue;
      if (columns.uncompressedSize[row] === 0) { // an image may not know all chunks
        index ??= new PlaceIndex(columns);
        if (index.rowsIn(offset, size).length > 0) return undefined;
        continue;
      }
      if (columns.uncompressedOffset[row] !== offset || columns.uncompressedSize[row] !== size) return undefined;
      const expected = columns.digests.subarray(row * DIGEST_SIZE, (row + 1) * DIGEST_SIZE);
      if (isDigestKnown(columns, row) && equalBytes(digest, expected)) setBit(bits, row);
    }
    return bits;
  }

  /** Recorded chunks, ascending. Yields the same object each time, valid until the next step. */
  *#checked(): Generator<{ readonly row: number; readonly digest: Uint8Array; offset: number; size: number }> {
    const block = new Uint8Array(Math.min(STRIDE, this.count) * VERIFIED_ROW.SIZE);
    const view = new DataView(block.buffer);
    for (let first = 0; first < this.count; first += STRIDE) {
      const rows = Math.min(STRIDE, this.count - first);
      preadExact(
        this.file.fd,
        block.subarray(0, rows * VERIFIED_ROW.SIZE),
        VERIFIED.HEADER_SIZE + first * VERIFIED_ROW.SIZE,
      );
      for (let k = 0; k < rows; k++) {
        const at = k * VERIFIED_ROW.SIZE;
        const size = view.getUint32(at + VERIFIED_ROW.size, true);
        if (size === 0) continue;
        const offset = Number(view.getBigUint64(at + VERIFIED_ROW.offset, true));
        yield { row: first + k, digest: block.subarray(at, at + DIGEST_SIZE), offset, size };
      }
    }
  }

  /**
   * Records that the data of these chunks is on disk at the places in `columns` and matches their digests.
   *
   * @param rows ascending; adjacent rows share one write
   */
  record(rows: readonly number[], columns: CheckedColumns): void {
    for (let i = 0; i < rows.length;) {
      const first = rows[i] as number;
      let last = first;
      while (++i < rows.length && rows[i] === last + 1) last++;
      pwriteAll(
        this.file.fd,
        encodeRows(first, last - first + 1, columns),
        VERIFIED.HEADER_SIZE + first * VERIFIED_ROW.SIZE,
      );
    }
  }

  /**
   * Seals the file: the data file holds the recorded chunks and only this program has written to it.
   *
   * @param changedNs ctime of the data file
   * @returns whether the seal changed and needs a {@link sync}
   */
  seal(changedNs: bigint): boolean {
    if (changedNs === this.#seal) return false;
    pwriteAll(this.file.fd, littleEndian(changedNs), VERIFIED.seal);
    this.#seal = changedNs;
    return true;
  }

  /** Withdraws everything that was recorded. */
  forget(): void {
    ftruncate(this.file.fd, VERIFIED.HEADER_SIZE);
    ftruncate(this.file.fd, VERIFIED.HEADER_SIZE + this.count * VERIFIED_ROW.SIZE);
  }

  /** Syncs the records to disk. */
  sync(): Promise<void> {
    return this.file.syncData();
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }
}

function encodeHeader({ digester, count, data, changedNs, description }: VerifiedSubject): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(VERIFIED.HEADER_SIZE);
  const view = new DataView(header.buffer);
  header.set(MAGIC, VERIFIED.magic);
  view.setUint32(VERIFIED.digester, DIGESTER[digester], true);
  view.setUint32(VERIFIED.count, count, true);
  view.setBigUint64(VERIFIED.inode, data.inode, true);
  view.setBigInt64(VERIFIED.born, data.bornMs, true);
  view.setBigInt64(VERIFIED.seal, changedNs, true);
  header.set(Uint8Array.fromHex(description), VERIFIED.description);
  return header;
}

/** Encodes consecutive rows in the format of the file. */
export function encodeRows(
  first: number,
  count: number,
  { digests, uncompressedOffset, uncompressedSize }: CheckedColumns,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count * VERIFIED_ROW.SIZE);
  const view = new DataView(bytes.buffer);
  for (let k = 0; k < count; k++) {
    const row = first + k, at = k * VERIFIED_ROW.SIZE;
    bytes.set(digests.subarray(row * DIGEST_SIZE, (row + 1) * DIGEST_SIZE), at + VERIFIED_ROW.digest);
    view.setBigUint64(at + VERIFIED_ROW.offset, BigInt(uncompressedOffset[row] as number), true);
    view.setUint32(at + VERIFIED_ROW.size, uncompressedSize[row] as number, true);
  }
  return bytes;
}

function littleEndian(value: bigint): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigInt64(0, value, true);
  return new Uint8Array(view.buffer);
}
