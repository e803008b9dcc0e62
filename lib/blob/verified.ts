/**
 * What makes a bit of the chunk map count: the digest against which this program checked the cached chunk.
 *
 * ```
 *  0  "NGDVRFY1" │ u32 digester │ u32 chunks │ u64 inode of the data file │ i64 its birth in ms │ i64 seal │ zeros
 * 64  32 bytes a chunk: the digest, zeros: never checked
 * ```
 * Little-endian, in `<id>.blob.verified` beside nydusd's own files. A digest is written only after the chunk's data are
 * on disk. The data file is named in the header: a data file that was replaced, restored or copied is another one, and
 * what was checked of the old one says nothing about it. The seal is the data file's change time when digests were last
 * recorded, nanoseconds: a file that was written to since, by another program or by this one before it was killed, is no
 * longer what was checked. A header that does not fit is no error: the file starts anew, and cached chunks are read back
 * and checked when they are next needed. What the disk itself loses or turns is not seen.
 *
 * @module
 */
import { ftruncate, pread, preadExact, pwriteAll } from "../../ffi/unistd.ts";
import { equalBytes } from "../base/bytes.ts";
import { DIGESTER, type Digester } from "../rafs/bootstrap.ts";
import { DIGEST_SIZE } from "../rafs/chunk_table.ts";
import { CacheFile, type FileIdentity } from "./cache_file.ts";

/** Byte offsets of the header. */
export const VERIFIED = { HEADER_SIZE: 64, magic: 0, digester: 8, count: 12, inode: 16, born: 24, seal: 32 } as const;

const MAGIC = new TextEncoder().encode("NGDVRFY1");

/** Chunks whose digests are compared at a time. */
const STRIDE = 32768;

/** What the header must say. */
export interface VerifiedSubject {
  readonly digester: Digester;
  readonly count: number;
  readonly data: FileIdentity;
  /** Change time of the data file now, nanoseconds since 1970. */
  readonly changedNs: bigint;
}

/** The file of verified digests of one blob. */
export class VerifiedDigests implements Disposable {
  #seal: bigint;

  private constructor(private readonly file: CacheFile, private readonly count: number, seal: bigint) {
    this.#seal = seal;
  }

  /** Opens the file; one that speaks of something else is emptied first. */
  static async open(path: string, subject: VerifiedSubject): Promise<VerifiedDigests> {
    const file = CacheFile.open(path);
    try {
      const size = VERIFIED.HEADER_SIZE + subject.count * DIGEST_SIZE;
      const expected = encodeHeader(subject);
      const header = new Uint8Array(VERIFIED.HEADER_SIZE);
      if (file.sizeBytes !== size || pread(file.fd, header, 0) !== header.length || !equalBytes(header, expected)) {
        if (file.sizeBytes > 0) {
          // old digests must be gone for good before a header vouches for what stands behind it
          ftruncate(file.fd, 0);
          await file.syncData();
        }
        ftruncate(file.fd, size);
        pwriteAll(file.fd, expected, 0);
      }
      return new VerifiedDigests(file, subject.count, subject.changedNs);
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /** Rows whose stored digest is the expected one; zeros match nothing. */
  *matching(expected: Uint8Array): Generator<number> {
    const block = new Uint8Array(Math.min(STRIDE, this.count) * DIGEST_SIZE);
    for (let first = 0; first < this.count; first += STRIDE) {
      const rows = Math.min(STRIDE, this.count - first);
      const stored = block.subarray(0, rows * DIGEST_SIZE);
      preadExact(this.file.fd, stored, VERIFIED.HEADER_SIZE + first * DIGEST_SIZE);
      for (let row = 0; row < rows; row++) {
        if (sameDigest(stored, row * DIGEST_SIZE, expected, (first + row) * DIGEST_SIZE)) yield first + row;
      }
    }
  }

  /**
   * Records that the data of these chunks are on disk and have the digests of `digests`.
   *
   * @param rows ascending; neighbours are one write
   */
  record(rows: readonly number[], digests: Uint8Array): void {
    for (let i = 0; i < rows.length;) {
      const first = rows[i] as number;
      let last = first;
      while (++i < rows.length && rows[i] === last + 1) last++;
      const bytes = digests.subarray(first * DIGEST_SIZE, (last + 1) * DIGEST_SIZE);
      pwriteAll(this.file.fd, bytes, VERIFIED.HEADER_SIZE + first * DIGEST_SIZE);
    }
  }

  /**
   * Says that the data file has the bytes that were recorded as checked, and nobody but this program wrote to it.
   *
   * @param changedNs its change time
   * @returns whether that was news, which {@link sync} takes to the disk
   */
  seal(changedNs: bigint): boolean {
    if (changedNs === this.#seal) return false;
    pwriteAll(this.file.fd, littleEndian(changedNs), VERIFIED.seal);
    this.#seal = changedNs;
    return true;
  }

  /** Takes back everything that was recorded. */
  forget(): void {
    ftruncate(this.file.fd, VERIFIED.HEADER_SIZE);
    ftruncate(this.file.fd, VERIFIED.HEADER_SIZE + this.count * DIGEST_SIZE);
  }

  /** What was recorded reaches the disk. */
  sync(): Promise<void> {
    return this.file.syncData();
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }
}

function encodeHeader({ digester, count, data, changedNs }: VerifiedSubject): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(VERIFIED.HEADER_SIZE);
  const view = new DataView(header.buffer);
  header.set(MAGIC, VERIFIED.magic);
  view.setUint32(VERIFIED.digester, DIGESTER[digester], true);
  view.setUint32(VERIFIED.count, count, true);
  view.setBigUint64(VERIFIED.inode, data.inode, true);
  view.setBigInt64(VERIFIED.born, data.bornMs, true);
  view.setBigInt64(VERIFIED.seal, changedNs, true);
  return header;
}

function littleEndian(value: bigint): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigInt64(0, value, true);
  return new Uint8Array(view.buffer);
}

function sameDigest(stored: Uint8Array, at: number, expected: Uint8Array, from: number): boolean {
  let seen = 0;
  for (let i = 0; i < DIGEST_SIZE; i++) {
    const byte = expected[from + i] as number;
    if (stored[at + i] !== byte) return false;
    seen |= byte;
  }
  return seen !== 0;
}
