/**
 * Whether the end of an overlay can be the last use of the image below it.
 *
 * With its last use the kernel releases a file system, and first waits for reads that this process has to answer: see
 * ../../mount/unmount/unmount.ts, whose umount(8) takes several times as long as the unmount. While the file system that
 * an overlay was stacked on is mounted elsewhere, too, the end of the overlay is not its last use.
 *
 * File systems are told apart by device numbers, which the kernel does not give again while an overlay uses one. EROFS
 * only: FUSE drops a file with the last overlay that shows it, and then waits for the file's reads.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { statKnown } from "../../../ffi/sys_stat.ts";
import type { LazyMount } from "./lazy_images.ts";

/** The file system that an overlay is stacked on. */
export interface ImageBelow {
  /** Where it was mounted. */
  readonly path: string;
  readonly device: number;
}

/**
 * The file system of an image on which an overlay is about to be stacked; undefined if the end of the overlay has to be
 * taken for the last use of the image.
 */
export function imageBelow({ path, fsDriver }: LazyMount): ImageBelow | undefined {
  const device = fsDriver.startsWith("erofs-") ? deviceMountedAt(path) : undefined;
  return device === undefined ? undefined : { path, device };
}

/** Whether the same file system is mounted there still. */
export function isMountedStill({ path, device }: ImageBelow): boolean {
  return deviceMountedAt(path) === device;
}

/** Undefined if nothing is mounted there, and before Linux 5.8. */
function deviceMountedAt(path: string): number | undefined {
  try {
    const { dev, isMountRoot } = statKnown(path);
    return isMountRoot === true ? dev : undefined;
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}
