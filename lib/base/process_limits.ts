/**
 * Limits of a process that are lower than serving images needs.
 *
 * ```ts
 * for (const { message, remedy } of lowLimits()) log.warn(message, { remedy });
 * ```
 * Who exceeds one of them gets no error that could be handled: the kernel kills the process, or the runtime ends it. So
 * they are compared with what is needed, in advance. Sources: control_groups.ts; getrlimit(2), proc_pid_limits(5).
 *
 * @module
 */
import { readProcessFile } from "../../ffi/procfs.ts";
import { bytesText } from "./byte_text.ts";
import { type ControlGroupLimits, controlGroupLimits } from "./control_groups.ts";
import { FILE_SIZE_HINT, OPEN_FILES_HINT, TASKS_HINT } from "./error_report.ts";
import { logger } from "./log.ts";

const log = logger("limits");

/** A limit that is too low. */
export interface LowLimit {
  /** "memory is limited to 67.1 MB: with less than 201 MB the kernel may kill this program" */
  readonly message: string;
  /** What raises it. */
  readonly remedy: string;
}

/** With less, reading a whole image by many readers at once ended with the kernel killing the process. */
const NEEDED_MEMORY_BYTES = 192 * 1024 * 1024;

/** Threads of a process that serves images, its keepers, and programs such as umount(8); with room for some more. */
const NEEDED_TASKS = 64;

/** A mounted image takes some descriptors, and each thread eight. */
const NEEDED_FILES = 1024;

/** Soft limits of a process. */
interface ResourceLimits {
  readonly files: number;
  readonly fileBytes: number;
}

/** Returns the limits of the process `pid` that are too low. */
export function lowLimits(pid: number | "self" = "self"): LowLimit[] {
  return compareLimits(controlGroupLimits(pid), parseLimits(readProcessFile(pid, "limits") ?? ""));
}

/** Logs the limits of this process that are too low. */
export function warnOfLowLimits(): void {
  for (const { message, remedy } of lowLimits()) log.warn(message, { remedy });
}

/** Compares limits with what serving images needs. */
export function compareLimits(groups: ControlGroupLimits, { files, fileBytes }: ResourceLimits): LowLimit[] {
  const { memoryBytes = Infinity, tasks = Infinity } = groups;
  const low: LowLimit[] = [];
  if (memoryBytes < NEEDED_MEMORY_BYTES) {
    const needed = bytesText(NEEDED_MEMORY_BYTES);
    const state = `memory is limited to ${bytesText(memoryBytes)}`;
    low.push({
      message: `${state}: with less than ${needed} the kernel may kill this program`,
      remedy: "raise the limit of its control group (MemoryMax=, docker run --memory)",
    });
  }
  if (tasks < NEEDED_TASKS) {
    low.push({
      message: `threads and processes are limited to ${tasks}: fewer than ${NEEDED_TASKS} may not be enough`,
      remedy: TASKS_HINT,
    });
  }
  if (files < NEEDED_FILES) {
    low.push({
      message: `open files are limited to ${files}: fewer than ${NEEDED_FILES} may not be enough`,
      remedy: OPEN_FILES_HINT,
    });
  }
  if (fileBytes !== Infinity) {
    low.push({
      message: `files are limited to ${bytesText(fileBytes)}: a larger blob cannot be cached`,
      remedy: FILE_SIZE_HINT,
    });
  }
  return low;
}

/** Parses /proc/PID/limits: name, soft limit, hard limit and unit in columns. */
export function parseLimits(text: string): ResourceLimits {
  const soft = (name: string) => Number(new RegExp(`^${name} +(\\d+)`, "m").exec(text)?.[1] ?? Infinity);
  return { files: soft("Max open files"), fileBytes: soft("Max file size") };
}
