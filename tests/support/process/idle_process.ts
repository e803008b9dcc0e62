/**
 * Waits until another process has done what it was doing.
 *
 * @module
 */
import { readProcessFile } from "../../../ffi/procfs.ts";
import { until } from "../until.ts";

/** Interval between looks, milliseconds. */
const POLL_MS = 20;

/**
 * Waits until all threads of a process sleep, and none has run since the look before: what is under way waits for a
 * timer or for others. A thread that only lacks a processor does not sleep.
 */
export async function untilIdle(pid: number): Promise<void> {
  let before: string | undefined;
  await until(`process ${pid} is idle`, () => {
    const now = sleepOf(pid);
    const isIdle = now !== undefined && now === before;
    before = now;
    return isIdle;
  }, POLL_MS);
}

/** How often each thread has been put to sleep so far; undefined while one is not asleep. */
function sleepOf(pid: number): string | undefined {
  const threads: string[] = [];
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const status = readProcessFile(pid, `task/${name}/status`) ?? "";
    if (!/^State:\s+[SI]/m.test(status)) return undefined;
    threads.push(`${name} ${status.match(/^(non)?voluntary_ctxt_switches:.*$/gm)?.join(" ")}`);
  }
  return threads.join("\n");
}
