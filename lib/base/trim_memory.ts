/**
 * Keeps the memory of an idle process small.
 *
 * | memory                             | why it is still resident                                           |
 * | ---------------------------------- | ------------------------------------------------------------------ |
 * | garbage of the main thread's heap  | collected only when something is allocated                         |
 * | free memory of the C library       | scattered between small blocks that are in use                     |
 * | pages of program and libraries     | touched during startup; they are in the page cache anyway          |
 *
 * Program pages are dropped only when they exceed what serving needs ({@link PROGRAM_BYTES}): a page that no process
 * maps may also leave the page cache, and the next request then waits for the disk to read it and its neighbors again.
 *
 * A process is idle when it uses almost no CPU time. It is trimmed twice, because pages found free by the first
 * collection are released only by the second one. After that it is checked but not trimmed until its resident memory
 * has changed, by work or by threads that ended. A check costs two reads of counters.
 *
 * @module
 */
import process from "node:process";
import { mallocTrim } from "../../ffi/malloc.ts";
import { ProgramPages } from "../../ffi/smaps.ts";
import { messageOf } from "./errors.ts";
import { collectGarbage } from "./garbage.ts";
import { logger } from "./log.ts";

const log = logger("memory");

/** Between checks. */
const INTERVAL_MS = 5_000;
/** Share of one CPU below which the process is idle. */
const REST_SHARE = 0.01;
/** Change of resident bytes, up or down, that makes another trim worthwhile. */
const WORTH_BYTES = 4 << 20;
/** Consecutive trims of an idle process. */
const TIMES = 2;
/** Bytes of program and libraries that an idle process may keep; serving a mount needs some 24 MB of them. */
const PROGRAM_BYTES = 28 << 20;

/**
 * Trims the process whenever it is idle, until disposed. Call before any Worker starts.
 *
 * @param dropMore called during a trim to drop further pages known to the caller
 */
export function trimMemory(dropMore: () => void): AsyncDisposable {
  let trimming: Promise<void> | undefined;
  let times = 0;
  /** Resident bytes after trimming and after the process has mapped again what it uses. */
  let settled = 0;
  const program = ProgramPages.loaded();
  const shareSinceLast = processorShare();
  const trimIfIdle = () => {
    if (trimming !== undefined) return;
    if (shareSinceLast() >= REST_SHARE) return;
    if (times === TIMES) {
      times = 0;
      settled = residentBytes();
    }
    if (times === 0 && Math.abs(residentBytes() - settled) < WORTH_BYTES) return;
    times++;
    trimming = trim(program, dropMore).catch((error: unknown) => {
      log.warn("memory cannot be trimmed", { error: messageOf(error) }); // it serves on with more of it
    }).finally(() => {
      trimming = undefined;
      shareSinceLast(); // does not count its own work
    });
  };
  const timer = setInterval(trimIfIdle, INTERVAL_MS);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await trimming;
    },
  };
}

async function trim(program: ProgramPages, dropMore: () => void): Promise<void> {
  collectGarbage();
  await mallocTrim(0);
  dropMore();
  program.drop(PROGRAM_BYTES);
}

/** Returns a function that reports the share of a CPU used since its previous call. */
function processorShare(): () => number {
  const usage = () => {
    const { user, system } = process.cpuUsage();
    return { usedMs: (user + system) / 1000, atMs: performance.now() };
  };
  let last = usage();
  return () => {
    const now = usage();
    const share = (now.usedMs - last.usedMs) / (now.atMs - last.atMs);
    last = now;
    return share;
  };
}

function residentBytes(): number {
  return Deno.memoryUsage().rss;
}
