/**
 * Keeps what a resting process holds small.
 *
 * | what                               | why it is still there                                              |
 * | ---------------------------------- | ------------------------------------------------------------------ |
 * | garbage of the main thread's heap  | it is collected when something is allocated, not when nothing is    |
 * | free memory of the C library       | it lies between small pieces that are in use                       |
 * | pages of program and libraries     | the start touched them; they stay in the kernel's cache             |
 *
 * Of the program about as much stays as serving takes ({@link WORKING_BYTES}): a page that no process has any more may
 * leave the kernel's cache as well, and whoever asks next waits until the disk has given it, and its neighbours, again.
 *
 * A process rests when it hardly uses a processor. It is trimmed twice: pages that the first collection found free are
 * let go by the next. Then it is left alone until its resident memory has become another, by work or by threads that
 * ended: meanwhile it costs a look at two numbers.
 *
 * @module
 */
import process from "node:process";
import { mallocTrim } from "../../ffi/malloc.ts";
import { ProgramPages } from "../../ffi/smaps.ts";
import { collectGarbage } from "./garbage.ts";

const INTERVAL_MS = 5_000;
/** Part of one processor below which the process rests. */
const REST_SHARE = 0.01;
/** Bytes by which memory has changed since it had settled, up or down, for another time to be worthwhile. */
const WORTH_BYTES = 4 << 20;
/** Times in a row that a process is trimmed. */
const TIMES = 2;
/** Bytes of program and libraries that a resting process keeps: what serves a mount is some 24 MB of them. */
const WORKING_BYTES = 28 << 20;

/**
 * Gives back what a resting process does not need, until it is disposed. To be called before there are Workers.
 *
 * @param dropMore called as well: takes out pages that the caller knows of
 * @param intervalMs from one look to the next
 */
export function trimMemory(dropMore: () => void, intervalMs = INTERVAL_MS): AsyncDisposable {
  let trimming: Promise<void> | undefined;
  let times = 0;
  /** Bytes when it had been trimmed, and had taken back what it uses all the same. */
  let settled = 0;
  const program = ProgramPages.loaded();
  const shareSinceLast = processorShare();
  const look = () => {
    if (trimming !== undefined) return;
    if (shareSinceLast() >= REST_SHARE) return;
    if (times === TIMES) {
      times = 0;
      settled = residentBytes();
    }
    if (times === 0 && Math.abs(residentBytes() - settled) < WORTH_BYTES) return;
    times++;
    trimming = trim(program, dropMore).then(() => {
      trimming = undefined;
      shareSinceLast(); // its own work is none
    });
  };
  const timer = setInterval(look, intervalMs);
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
  program.drop(WORKING_BYTES);
}

/** Tells what part of a processor this process has used since it was asked last. */
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
