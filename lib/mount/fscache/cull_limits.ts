/**
 * Limits of the kernel's cache as cachefiles defines them: percentages of the file system that are free.
 *
 * ```
 *   run    above it nothing is culled
 *   cull   below it unused files are culled until `run` is reached
 *   stop   below it nothing is written: reads of data that are not cached are EIO
 * ```
 * Source: Documentation/filesystems/caching/cachefiles.rst.
 *
 * @module
 */
import { statfs } from "../../../ffi/sys_statfs.ts";
import type { SizeLimit } from "../../base/setting_values.ts";

/** Whole percentages of the blocks of a file system: stop < cull < run < 100. */
export interface CullLimits {
  readonly run: number;
  readonly cull: number;
  readonly stop: number;
}

/** The kernel's defaults. */
export const KERNEL_LIMITS: CullLimits = { run: 10, cull: 7, stop: 3 };

/** Percentage points between two limits. */
const STEP = 2;

/** Returns limits that leave `minFree` of a file system of `totalBytes` free, rounded up to whole percents. */
export function cullLimits(minFree: SizeLimit, totalBytes: number): CullLimits {
  const percent = "percent" in minFree ? minFree.percent : minFree.bytes / Math.max(1, totalBytes) * 100;
  const stop = Math.min(Math.ceil(percent), 99 - 2 * STEP);
  return { stop, cull: stop + STEP, run: stop + 2 * STEP };
}

/** Returns the commands that set the limits, ordered so that each is valid with the limits in force at that time. */
export function limitCommands({ run, cull, stop }: CullLimits): (readonly [command: string, percent: string])[] {
  const commands = [["bstop", `${stop}%`], ["bcull", `${cull}%`], ["brun", `${run}%`]] as const;
  const isUpward = run > KERNEL_LIMITS.cull && cull > KERNEL_LIMITS.stop;
  return isUpward ? commands.toReversed() : [...commands];
}

/** Whether at least `percent` of the file system is free, so that nothing has to be culled. */
export function isAbove(percent: number, dir: string): boolean {
  const { blocks, availableBlocks } = statfs(dir);
  return availableBlocks * 100 >= blocks * percent;
}
