/**
 * Empties the parts of a cache file that its disk may have lost, before chunks are written there again; finds those that
 * others have emptied.
 *
 * ext4 keeps a page in memory that it could not write, and remembers the block that it had reserved for it, which it
 * marks as written only when a write succeeds. If that page is changed again, it is written to that block, but the mark
 * stays away: fsync(2) reports success, and once the page is dropped, the file has zeros there. A hole has neither pages
 * nor blocks, so that what is written there is stored like the first time.
 *
 * Source: observed on Linux 6.18, with a journal and without; XFS and Btrfs do not do so.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { dropPages, punchHole, takeWriteError } from "../../../ffi/fcntl.ts";
import type { AnyFd } from "../../../ffi/fd.ts";
import { lseek, SEEK } from "../../../ffi/unistd.ts";
import type { ChunkPlaces } from "../../rafs/blob/chunk_table.ts";
import { delay } from "../../base/abort.ts";
import { type Bits, clearBit, hasBit } from "./bits.ts";

/** Holes consist of whole blocks. Where a file system has larger ones, the kernel fills the rest with zeros. */
const BLOCK = 4096;

/**
 * How long what may be lost stays in the file when nobody may read it any more: the kernel may be about to read what it
 * has just been allowed to.
 */
const ALLOWED_READS_MS = 200;

/** A range of whole blocks of a file, in bytes. */
export interface BlockRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Ranges of whole blocks of a cache file without a byte of the chunks that are to be kept.
 *
 * @param isKept one bit per chunk
 * @param sizeBytes size of the file
 */
export function rangesWithout(isKept: Bits, places: ChunkPlaces, sizeBytes: number): BlockRange[] {
  const { count, uncompressedOffset, uncompressedSize } = places;
  const startOf = (row: number) => uncompressedOffset[row] as number;
  const kept = Array.from({ length: count }, (_, row) => row).filter((row) => hasBit(isKept, row));
  const ranges: BlockRange[] = [];
  let end = 0;
  const addGap = (start: number) => {
    const offset = Math.ceil(end / BLOCK) * BLOCK, length = Math.floor(start / BLOCK) * BLOCK - offset;
    if (length > 0) ranges.push({ offset, length });
  };
  for (const row of kept.sort((a, b) => startOf(a) - startOf(b))) {
    addGap(startOf(row));
    end = Math.max(end, startOf(row) + (uncompressedSize[row] as number));
  }
  addGap(Math.ceil(sizeBytes / BLOCK) * BLOCK);
  return ranges;
}

/**
 * Clears the bits of chunks in which the file has a hole, and returns how many. Each was written in full once.
 *
 * @param fd its position changes
 * @param bits one bit per chunk
 * @throws {SyscallError}
 */
export function clearHollow(
  fd: AnyFd,
  bits: Bits,
  { count, uncompressedOffset, uncompressedSize }: ChunkPlaces,
): number {
  let cleared = 0;
  /** A range without a hole, and the start of the hole after it. */
  let dataStart = 0, dataEnd = 0;
  for (let row = 0; row < count; row++) {
    const start = uncompressedOffset[row] as number, end = start + (uncompressedSize[row] as number);
    if (!hasBit(bits, row) || end === start || (dataStart <= start && end <= dataEnd)) continue;
    [dataStart, dataEnd] = [start, lseek(fd, start, SEEK.HOLE)];
    if (end <= dataEnd) continue;
    clearBit(bits, row);
    cleared++;
  }
  return cleared;
}

/**
 * {@link emptyRanges} of a file in use. To be called between two epochs (lost_writes.ts).
 *
 * @throws {SyscallError}
 */
export async function emptyLost(fd: AnyFd, ranges: readonly BlockRange[]): Promise<void> {
  await delay(ALLOWED_READS_MS);
  await emptyRanges(fd, ranges);
}

/**
 * Makes ranges of a file holes, of which nothing is in memory.
 *
 * @param fd must stay open meanwhile
 * @throws {SyscallError}
 */
export async function emptyRanges(fd: AnyFd, ranges: readonly BlockRange[]): Promise<void> {
  try {
    for (const { offset, length } of ranges) await punchHole(fd, offset, length);
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP")) throw error;
    dropPages(fd); // as much as is possible there
  }
  takeWriteError(fd); // of what is gone
}
