/**
 * Cost of a program until it ends: time, CPU, memory.
 *
 * @module
 */
import { processStat, readProcessFile } from "../../ffi/procfs.ts";
import { NydusGdError } from "../../lib/base/errors.ts";

/** Interval of memory samples: growth in the program's last moments is missed. */
const POLL_MS = 20;
/** USER_HZ of Linux. */
const TICKS_PER_SECOND = 100;
/** Maximum characters shown of a program's error output. */
const MAX_STDERR_CHARS = 300;

/** Resources that a program has used. */
export interface ProcessCost {
  readonly seconds: number;
  /** User and system time of the program and all children that it waited for. */
  readonly cpuSeconds: number;
  /** Peak resident memory of the program itself. */
  readonly peakMegabytes: number;
}

/**
 * Runs a program to completion. No other child may end meanwhile.
 *
 * @throws {NydusGdError} "environment" with what it wrote to standard error
 */
export async function costOf(program: string, args: readonly string[]): Promise<ProcessCost> {
  const before = childTicks();
  const start = performance.now();
  const command = new Deno.Command(program, { args: [...args], stdin: "null", stdout: "null", stderr: "piped" });
  const child = command.spawn();
  let peakKib = 0;
  const poll = setInterval(() => {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readProcessFile(child.pid, "status") ?? "")?.[1];
    if (kib !== undefined) peakKib = Number(kib);
  }, POLL_MS);
  try {
    const { success, stderr } = await child.output();
    const seconds = (performance.now() - start) / 1000;
    if (!success) {
      const said = new TextDecoder().decode(stderr).trim().slice(0, MAX_STDERR_CHARS);
      throw new NydusGdError(
        "environment",
        `Cannot run ${program} ${args.slice(0, 1)}: ${said || "it printed nothing"}`,
      );
    }
    return { seconds, cpuSeconds: (childTicks() - before) / TICKS_PER_SECOND, peakMegabytes: peakKib * 1024 / 1e6 };
  } finally {
    clearInterval(poll);
  }
}

/** CPU ticks of all children that have ended: cutime and cstime of proc(5). */
function childTicks(): number {
  const fields = processStat("self");
  return Number(fields?.[13]) + Number(fields?.[14]);
}
