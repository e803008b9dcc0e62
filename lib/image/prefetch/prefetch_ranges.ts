/**
 * Which ranges of an image's blobs a prefetch fetches, in which order.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { PrefetchRange } from "../../blob/prefetch.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { fileExtents, walkTree } from "../../rafs/walk.ts";
import type { BlobRange } from "./read_coverage.ts";
import type { ReadRecorder } from "./read_recorder.ts";

const log = logger("image", "prefetch");

/** Alignment of chunks in the blob's address space; a smaller gap is padding. */
const CHUNK_ALIGNMENT = 4096;

/** The image to prefetch. */
export interface PrefetchImage {
  readonly name: string;
  readonly tree: Bootstrap;
  readonly blobs: readonly PrefetchRange["store"][];
  /** The reads of earlier starts. */
  readonly recorder?: Pick<ReadRecorder, "learned" | "isFollowing"> | undefined;
}

/** Maximum bytes of listed files that are taken for what a start reads. */
const LISTED_BYTES = 64 * 1024 * 1024;

/**
 * Returns what a start is expected to read, as far as the image has it: the ranges of earlier starts or, before the
 * first one, of the files that the image lists. Empty if they cannot be read.
 */
export async function learnedRanges(image: PrefetchImage): Promise<PrefetchRange[]> {
  const { name, recorder, blobs } = image;
  try {
    const reads = await recorder?.learned(() => listedReads(image)) ?? [];
    return reads.flatMap(({ blobIndex, offset, length }) => {
      const store = blobs[blobIndex];
      return store === undefined ? [] : [{ store, offset, length }];
    });
  } catch (error) {
    log.warn("learned reads of the image cannot be read", { image: name, error: messageOf(error) });
    return [];
  }
}

/** The data of listed files in the order of the blobs. Empty if the image lists a folder, which may hold anything. */
function listedReads({ tree }: PrefetchImage): BlobRange[] {
  const extents: Extent[] = [];
  let bytes = 0;
  for (const ino of tree.prefetch) {
    const [named] = walkTree(tree, ino);
    if (named === undefined || (named.attr.mode & S.IFMT) !== S.IFREG) return [];
    for (const extent of extentsBelow(tree, [ino])) {
      extents.push(extent);
      if ((bytes += extent.length) > LISTED_BYTES) return [];
    }
  }
  return [...merged(extents.sort((a, b) => a.blobIndex - b.blobIndex || a.blobOffset - b.blobOffset))];
}

/**
 * Yields the ranges of regular files' data, with adjacent extents merged.
 *
 * @param roots inodes; a directory stands for the files below it
 * @throws {RafsError} if the tree is damaged
 */
export function* rangesOf({ tree, blobs }: PrefetchImage, roots: readonly number[]): Generator<PrefetchRange> {
  for (const { blobIndex, offset, length } of merged(extentsBelow(tree, roots))) {
    const store = blobs[blobIndex];
    if (store === undefined) {
      throw new NydusGdError("invalid-image", `Cannot prefetch blob ${blobIndex}: image has no such blob`);
    }
    yield { store, offset, length };
  }
}

/** Yields extents as ranges of blobs, adjacent ones as one range. */
function* merged(extents: Iterable<Extent>): Generator<BlobRange> {
  let open: { readonly blobIndex: number; readonly offset: number; length: number } | undefined;
  for (const { blobIndex, blobOffset, length } of extents) {
    const gap = open?.blobIndex === blobIndex ? blobOffset - (open.offset + open.length) : -1;
    if (open !== undefined && gap >= 0 && gap < CHUNK_ALIGNMENT) {
      open.length += gap + length;
      continue;
    }
    if (open !== undefined) yield open;
    open = { blobIndex, offset: blobOffset, length };
  }
  if (open !== undefined) yield open;
}

/** Yields the extents of each regular file, once whatever its number of names. */
function* extentsBelow(tree: Bootstrap, roots: readonly number[]): Generator<Extent> {
  const seen = new Set<number>();
  const budget = new TreeBudget(tree.byteLength);
  for (const root of new Set(roots)) {
    for (const { ino, attr: { mode, size } } of walkTree(tree, root)) {
      if ((mode & S.IFMT) !== S.IFREG || seen.has(ino)) continue;
      seen.add(ino);
      for (const extent of fileExtents(tree, ino, size)) {
        budget.takeChunk(ino);
        yield extent;
      }
    }
  }
}

/** Yields ranges up to a total of `bytes`; the last one may exceed it. */
export function* beginningOf(ranges: Iterable<PrefetchRange>, bytes: number): Generator<PrefetchRange> {
  let left = bytes;
  for (const range of ranges) {
    if (left <= 0) return;
    left -= range.length;
    yield range;
  }
}
