/**
 * Runs inputs of one target: `child.ts MODULE TARGET SEED FROM TO PROGRESS`.
 *
 * The file PROGRESS holds the position of the current input, so that the parent knows it whatever happens to this
 * process. Exits with 0, or at the first fault with 1 and a description on standard error.
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import { isFolder } from "../is_folder.ts";
import { TempDir } from "../temp_dir.ts";
import { turn } from "../until.ts";
import { AllocationMeter } from "./allocations.ts";
import { FuzzJudge } from "./judge.ts";
import { PROGRESS_BYTES } from "./progress.ts";
import { targetNamed } from "./target.ts";

/** Maximum growth of resident memory over all inputs of a run: more is a leak. */
const MAX_GROWTH_BYTES = 768 << 20;
/** Number of inputs between two memory checks. */
const MEMORY_EVERY = 4096;
/** Number of inputs between two turns of the event loop: the runtime releases what a failed call held only there. */
const TURN_EVERY = 128;

const [module = "", name = "", seedText, fromText, toText, progressPath = ""] = Deno.args;
const [seed, from, to] = [Number(seedText), Number(fromText), Number(toText)];
const meter = AllocationMeter.install();
await import(module);

using scratch = TempDir.make(await isFolder("/dev/shm") ? "/dev/shm" : undefined);
using file = open(progressPath, O.RDWR);
using mapping = Mapping.ofFile(file, PROGRESS_BYTES, { shared: true, writable: true });
const progress = new Float64Array(mapping.bytes.buffer, 0, 2);
await using judge = await FuzzJudge.open(targetNamed(name), scratch.path, meter);
Deno.exitCode = await runAll();

async function runAll(): Promise<number> {
  let resident = 0;
  // most inputs are refused by an exception, whose stack trace would cost more than everything else
  Error.stackTraceLimit = 0;
  for (let position = from; position < to; position++) {
    progress[0] = position;
    const outcome = judge.judge(judge.input(seed, position));
    const fault = outcome instanceof Promise ? await outcome : outcome;
    if (fault !== undefined) {
      Error.stackTraceLimit = 20;
      const again = await judge.judge(judge.input(seed, position)) ?? fault;
      console.error(again instanceof Error ? again.stack ?? again.message : again);
      return 1;
    }
    const done = position - from + 1;
    if (done % TURN_EVERY === 0) await turn();
    if (done % MEMORY_EVERY !== 0) continue;
    const { rss } = Deno.memoryUsage();
    if (resident === 0) resident = rss;
    if (rss - resident <= MAX_GROWTH_BYTES) continue;
    console.error(`Cannot go on after ${done} inputs: memory has grown from ${resident} to ${rss} bytes`);
    return 1;
  }
  progress[0] = to;
  progress[1] = judge.accepted;
  return 0;
}
