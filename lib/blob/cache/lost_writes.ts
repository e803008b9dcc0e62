/**
 * Tells the threads that read a cache file whether the disk has lost what was written to it.
 *
 * ```
 * write ─► page cache ──(whenever the kernel likes)──► disk refuses ─► error noted for the file ─► page may be dropped
 *                                                                                                  └► reads give zeros
 * ```
 * The kernel notes the error before it drops a page. So bytes that were read are those that were written if no error is
 * noted afterwards. Chunks that a sync has covered are on disk and need no such question.
 *
 * The kernel tells an error once for each open file description, and the threads share one. Hence whoever asks says so
 * before, and passes on what it was told; whoever sees another ask does not know the answer. The thread that handles a
 * loss begins a new epoch, which tells all others that what they have read in the former one may be lost.
 *
 * Source: Documentation/core-api/errseq.rst, mm/filemap.c (file_check_and_advance_wb_err), Linux 4.13 and later.
 *
 * @module
 */
import { takeWriteError } from "../../../ffi/fcntl.ts";
import type { AnyFd } from "../../../ffi/fd.ts";
import { bitmapSize, hasBit } from "./bits.ts";

/** Words of {@link SyncState.losses}. */
const WORD = { epoch: 0, isLost: 1, asking: 2, LENGTH: 3 } as const;

/** What is known about the chunks of a cache file on disk. Plain data; can be posted to a Worker. */
export interface SyncState {
  /** One bit per chunk (bits.ts). Set: its data was synced to disk and cannot be lost. */
  readonly recorded: Uint8Array<SharedArrayBuffer>;
  /** Private to this module. */
  readonly losses: Int32Array<SharedArrayBuffer>;
}

/** Returns the state of a file with `count` chunks, none of which was synced. */
export function newSyncState(count: number): SyncState {
  return {
    recorded: new Uint8Array(new SharedArrayBuffer(bitmapSize(count))),
    losses: new Int32Array(new SharedArrayBuffer(WORD.LENGTH * 4)),
  };
}

/** Whether the chunk cannot be lost. */
export function isRecorded({ recorded }: SyncState, row: number): boolean {
  return hasBit(recorded, row);
}

/** The present epoch, for {@link isKept}. To be taken before asking which chunks are ready. */
export function epochOf({ losses }: SyncState): number {
  return Atomics.load(losses, WORD.epoch);
}

/**
 * Whether what has been read from the file since `epoch` was taken is what was written. False also when that cannot be
 * told at this moment.
 *
 * @param fd the file
 */
export function isKept({ losses }: SyncState, fd: AnyFd, epoch: number): boolean {
  Atomics.add(losses, WORD.asking, 1);
  const failed = takeWriteError(fd);
  if (failed) Atomics.store(losses, WORD.isLost, 1);
  const others = Atomics.sub(losses, WORD.asking, 1) - 1;
  return !failed && others === 0 && !isLost({ losses }) && Atomics.load(losses, WORD.epoch) === epoch;
}

/** Whether a thread was told of a loss that is not handled. */
export function isLost({ losses }: Pick<SyncState, "losses">): boolean {
  return Atomics.load(losses, WORD.isLost) !== 0;
}

/** Begins a new epoch. To be called when no chunk that may be lost is ready any more. */
export function beginEpoch({ losses }: SyncState): void {
  Atomics.add(losses, WORD.epoch, 1);
  Atomics.store(losses, WORD.isLost, 0);
}
