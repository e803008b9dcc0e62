/**
 * How full the disk of the kernel's cache may be, in the words of cachefiles: shares of the file system that are free.
 *
 * ```
 *   run    above it nothing leaves the cache
 *   cull   below it files that nobody uses leave it, until `run` is reached
 *   stop   below it nothing is written: what is not cached is EIO
 * ```
 * Source: Documentation/filesystems/caching/cachefiles.rst.
 *
 * @module
 */
import { statfs } from "../../../ffi/sys_statfs.ts";
import type { SizeLimit } from "../../base/setting_values.ts";

/** Whole percents of the blocks of a file system: stop < cull < run < 100. */
export interface CullLimits {
  readonly run: number;
  readonly cull: number;
  readonly stop: number;
}

/** What the kernel takes unless told otherwise. */
export const KERNEL_LIMITS: CullLimits = { run: 10, cull: 7, stop: 3 };

/** Between two limits. */
const STEP = 2;

/** Limits that leave `minFree` of a file system of `totalBytes`, as far as whole percents can say it. */
export function cullLimits(minFree: SizeLimit, totalBytes: number): CullLimits {
  const percent = "percent" in minFree ? minFree.percent : minFree.bytes / Math.max(1, totalBytes) * 100;
  const stop = Math.min(Math.ceil(percent), 99 - 2 * STEP);
  return { stop, cull: stop + STEP, run: stop + 2 * STEP };
}

/** The commands that set the limits, in an order in which each one is right beside those that hold then. */
export function limitCommands({ run, cull, stop }: CullLimits): (readonly [command: string, percent: string])[] {
  const commands = [["bstop", `${stop}%`], ["bcull", `${cull}%`], ["brun", `${run}%`]] as const;
  const isUpward = run > KERNEL_LIMITS.cull && cull > KERNEL_LIMITS.stop;
  return isUpward ? commands.toReversed() : [...commands];
}

/** Whether there is so much free that nothing has to leave the cache. */
export function isAbove(percent: number, dir: string): boolean {
  const { blocks, availableBlocks } = statfs(dir);
  return availableBlocks * 100 >= blocks * percent;
}
