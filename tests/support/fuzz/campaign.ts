/**
 * Runs the inputs of a target in child processes and monitors them: a process that dies, hangs or grows has found a
 * fault.
 *
 * | variable | meaning |
 * |---|---|
 * | `FUZZ_INPUTS` | inputs per target, 1000 by default; scripts/test.sh stress sets a million |
 * | `FUZZ_SEED` | seed of the inputs, 1 by default |
 *
 * @module
 */
import { processStat } from "../../../ffi/procfs.ts";
import { basename } from "node:path";
import { PROGRESS_BYTES, readProgress } from "./progress.ts";
import { TempDir } from "../temp_dir.ts";

const CHILD = new URL("./child.ts", import.meta.url).href;
const REPLAY = "tests/support/fuzz/replay.ts";

/** Maximum CPU time of one input, seconds; wall time would depend on other users of the machine. */
const MAX_CPU_S = 20;
/** Maximum time without progress, for an input that waits forever. */
const MAX_SILENCE_MS = 300_000;
/** Maximum resident memory of a child before it is killed; V8 ends it at a heap of {@link HEAP_MIB}. */
const MAX_RESIDENT_BYTES = 2 ** 31;
const HEAP_MIB = 1024;
const WATCH_MS = 250;
/** Minimum inputs per process. */
const LEAST_SHARE = 5_000;

const inputsAsked = positive("FUZZ_INPUTS", 1_000);
const seed = positive("FUZZ_SEED", 1);

/**
 * Runs the inputs of a target.
 *
 * @param oneIn runs one in this many of {@link inputsAsked}
 * @throws {Error} that identifies the first faulty input and the command to repeat it
 */
export async function runCampaign(module: string, name: string, oneIn: number): Promise<void> {
  const count = Math.max(1, Math.ceil(inputsAsked / oneIn));
  const children = Math.max(1, Math.min(navigator.hardwareConcurrency, Math.floor(count / LEAST_SHARE)));
  const startedMs = performance.now();
  const share = Math.ceil(count / children);
  const ranges = Array.from({ length: children }, (_, i) => [i * share, Math.min(count, (i + 1) * share)] as const);
  const results = await Promise.all(ranges.map(([from, to]) => runRange(module, name, from, to)));
  const faults = results.flatMap((result) => typeof result === "string" ? [result] : []);
  if (faults.length > 0) throw new Error(faults.join("\n\n"));
  const accepted = results.reduce<number>((sum, result) => sum + (typeof result === "number" ? result : 0), 0);
  // a thousand inputs include unchanged seeds
  if (accepted === 0 && count >= 1_000) {
    throw new Error(`Cannot fuzz "${name}": not one of ${count} inputs is accepted`);
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${name}: ${count} inputs of seed ${seed} in ${seconds} s, ${accepted} accepted`);
}

/** Returns the number of accepted inputs, or the fault. */
async function runRange(module: string, name: string, from: number, to: number): Promise<number | string> {
  using temp = TempDir.make();
  const path = temp.join("progress");
  Deno.writeFileSync(path, new Uint8Array(PROGRESS_BYTES));
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--allow-all", "--no-check", "--quiet", `--v8-flags=--max-old-space-size=${HEAP_MIB}`, CHILD],
      ...[module, name, `${seed}`, `${from}`, `${to}`, path],
    ],
    env: { TMPDIR: temp.path },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const watch = new Watch(process, path);
  const { success, stderr, signal, code } = await process.output();
  const reason = watch.stop();
  const { position, accepted } = readProgress(path);
  if (success && position === to) return accepted;
  const ended = reason ?? (signal === null ? `the process exited ${code}` : `the process was ended by ${signal}`);
  return `Input ${position} of seed ${seed} is a fault in "${name}" (${ended}):\n` +
    `${new TextDecoder().decode(stderr).trim()}\n` +
    `repeat it: deno run -A ${REPLAY} ${basename(module)} "${name}" ${seed} ${position}`;
}

/** Kills a child that makes no progress or uses too much memory. */
class Watch {
  readonly #timer: ReturnType<typeof setInterval>;
  #position = NaN;
  #cpuAtPosition = 0;
  #movedMs = performance.now();
  #reason: string | undefined;

  constructor(private readonly process: Deno.ChildProcess, private readonly progress: string) {
    this.#timer = setInterval(() => this.#look(), WATCH_MS);
  }

  /** Returns why the child was killed; undefined if it was not. */
  stop(): string | undefined {
    clearInterval(this.#timer);
    return this.#reason;
  }

  #look(): void {
    const usage = usageOf(this.process.pid);
    if (usage === undefined || this.#reason !== undefined) return;
    const { position } = readProgress(this.progress);
    if (position !== this.#position) {
      this.#position = position;
      this.#cpuAtPosition = usage.cpuSeconds;
      this.#movedMs = performance.now();
    }
    if (performance.now() - this.#movedMs > MAX_SILENCE_MS) this.#end(`no end within ${MAX_SILENCE_MS} ms`);
    if (usage.cpuSeconds - this.#cpuAtPosition > MAX_CPU_S) this.#end(`it takes more than ${MAX_CPU_S} s`);
    if (usage.residentBytes > MAX_RESIDENT_BYTES) this.#end(`it takes ${usage.residentBytes} bytes of memory`);
  }

  #end(reason: string): void {
    this.#reason = reason;
    this.process.kill("SIGKILL");
  }
}

/** /proc/PID/stat: utime and stime are fields 14 and 15 in ticks of 10 ms, rss field 24 in pages of 4096 bytes. */
function usageOf(pid: number): { cpuSeconds: number; residentBytes: number } | undefined {
  const fields = processStat(pid)?.map(Number);
  if (fields === undefined) return undefined;
  return { cpuSeconds: ((fields[11] ?? 0) + (fields[12] ?? 0)) / 100, residentBytes: (fields[21] ?? 0) * 4096 };
}

function positive(variable: string, fallback: number): number {
  const text = Deno.env.get(variable) || `${fallback}`;
  if (!/^[1-9][0-9]{0,9}$/.test(text)) throw new Error(`Cannot use ${variable}: it must be a number from 1`);
  return Number(text);
}
