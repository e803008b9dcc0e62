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

/** Returns the ranges of earlier starts that the image has; empty if they cannot be read. */
export async function learnedRanges({ name, recorder, blobs }: PrefetchImage): Promise<PrefetchRange[]> {
  try {
    const reads = await recorder?.learned() ?? [];
    return reads.flatMap(({ blobIndex, offset, length }) => {
      const store = blobs[blobIndex];
      return store === undefined ? [] : [{ store, offset, length }];
    });
  } catch (error) {
    log.warn("learned reads of the image cannot be read", { image: name, error: messageOf(error) });
    return [];
  }
}

/**
 * Yields the ranges of regular files' data, with adjacent extents merged.
 *
 * @param roots inodes; a directory stands for the files below it
 * @throws {RafsError} if the tree is damaged
 */
export function* rangesOf({ tree, blobs }: PrefetchImage, roots: readonly number[]): Generator<PrefetchRange> {
  let open: { readonly blobIndex: number; readonly offset: number; length: number } | undefined;
  const rangeOf = ({ blobIndex, offset, length }: NonNullable<typeof open>): PrefetchRange => {
    const store = blobs[blobIndex];
    if (store === undefined) {
      throw new NydusGdError("invalid-image", `Cannot prefetch blob ${blobIndex}: image has no such blob`);
    }
    return { store, offset, length };
  };
  for (const { blobIndex, blobOffset, length } of extentsBelow(tree, roots)) {
    const gap = open?.blobIndex === blobIndex ? blobOffset - (open.offset + open.length) : -1;
    if (open !== undefined && gap >= 0 && gap < CHUNK_ALIGNMENT) {
      open.length += gap + length;
      continue;
    }
    if (open !== undefined) yield rangeOf(open);
    open = { blobIndex, offset: blobOffset, length };
  }
  if (open !== undefined) yield rangeOf(open);
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
