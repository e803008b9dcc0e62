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
 * before, and passes on what it was told; whoever sees another ask does not know the answer.
 *
 * Where a file is kept in one of another file system (an overlay, FUSE), the kernel notes the error for that one only, and
 * tells it to a sync. There, nothing is known of a chunk that no sync has covered.
 *
 * A loss ends an epoch, and the next one begins when it has been handled (lost_content.ts). What was read in an epoch
 * that has ended may be lost, and so may what was written: such a chunk does not become ready.
 *
 * Source: Documentation/core-api/errseq.rst, mm/filemap.c (file_check_and_advance_wb_err), Linux 4.13 and later.
 *
 * @module
 */
import { takeWriteError } from "../../../ffi/fcntl.ts";
import type { AnyFd } from "../../../ffi/fd.ts";
import { FS_MAGIC, statfs } from "../../../ffi/sys_statfs.ts";
import { delay } from "../../base/abort.ts";
import { bitmapSize, type Bits, hasBit, setBit } from "./bits.ts";

/** Words of {@link SyncState.losses}. */
const WORD = { epoch: 0, isLost: 1, asking: 2, publishing: 3, isUntold: 4, LENGTH: 5 } as const;

/** File systems that keep a file in one of another file system, and that alone is told of errors. */
const STACKED: readonly number[] = [FS_MAGIC.overlayfs, FS_MAGIC.fuse, FS_MAGIC.ecryptfs];

/** What is known about the chunks of a cache file on disk. Plain data; can be posted to a Worker. */
export interface SyncState {
  /** One bit per chunk (bits.ts). Set: its data was synced to disk and cannot be lost. */
  readonly recorded: Uint8Array<SharedArrayBuffer>;
  /** Private to this module. */
  readonly losses: Int32Array<SharedArrayBuffer>;
}

/** Whether only a sync tells of losses. */
export type Losses = "told" | "told-by-sync";

/** How losses of files in `folder` are told. */
export function lossesIn(folder: string): Losses {
  return STACKED.includes(statfs(folder).type) ? "told-by-sync" : "told";
}

/** Returns the state of a file with `count` chunks, none of which was synced. */
export function newSyncState(count: number, losses: Losses = "told"): SyncState {
  const words = new Int32Array(new SharedArrayBuffer(WORD.LENGTH * 4));
  words[WORD.isUntold] = losses === "told-by-sync" ? 1 : 0;
  return { recorded: new Uint8Array(new SharedArrayBuffer(bitmapSize(count))), losses: words };
}

/** Whether chunks have to be synced before they are read. */
export function mustSync({ losses }: Pick<SyncState, "losses">): boolean {
  return losses[WORD.isUntold] === 1;
}

/** Whether the chunk cannot be lost. */
export function isRecorded({ recorded }: SyncState, row: number): boolean {
  return hasBit(recorded, row);
}

/**
 * The present epoch; between two epochs, a number of none. To be taken before asking which chunks are ready, for
 * {@link isKept}, and before writing or reading back a chunk, for {@link publish}.
 */
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
  if (mustSync({ losses })) return false;
  Atomics.add(losses, WORD.asking, 1);
  const failed = takeWriteError(fd);
  if (failed) noteLoss({ losses });
  const others = Atomics.sub(losses, WORD.asking, 1) - 1;
  return !failed && others === 0 && !isLost({ losses }) && isPresent({ losses }, epoch);
}

/**
 * Makes a chunk ready, unless the epoch has ended in which it was written or read back.
 *
 * @returns whether it is ready
 */
export function publish({ losses }: SyncState, ready: Bits, row: number, epoch: number): boolean {
  Atomics.add(losses, WORD.publishing, 1);
  const isCurrent = isPresent({ losses }, epoch);
  if (isCurrent) setBit(ready, row);
  Atomics.sub(losses, WORD.publishing, 1);
  return isCurrent;
}

/** Whether it is an epoch, and has not ended. Epochs are even numbers. */
function isPresent({ losses }: Pick<SyncState, "losses">, epoch: number): boolean {
  return (epoch & 1) === 0 && Atomics.load(losses, WORD.epoch) === epoch;
}

/** Whether a thread was told of a loss that is not handled. */
export function isLost({ losses }: Pick<SyncState, "losses">): boolean {
  return Atomics.load(losses, WORD.isLost) !== 0;
}

/** Notes that data of the file was not written to the disk. */
export function noteLoss({ losses }: Pick<SyncState, "losses">): void {
  Atomics.store(losses, WORD.isLost, 1);
}

/**
 * Ends the epoch, handles what was lost in it, and begins a new one. If that fails, the loss remains noted.
 *
 * @param handle called when no chunk of the former epoch can become ready any more; afterwards none that may be lost is
 */
export async function betweenEpochs(state: SyncState, handle: () => Promise<void>): Promise<void> {
  const { losses } = state;
  Atomics.add(losses, WORD.epoch, 1);
  Atomics.store(losses, WORD.isLost, 0);
  try {
    while (Atomics.load(losses, WORD.publishing) !== 0) await delay(1); // the other thread waits for a core
    await handle();
  } catch (error) {
    noteLoss(state);
    throw error;
  } finally {
    Atomics.add(losses, WORD.epoch, 1);
  }
}
