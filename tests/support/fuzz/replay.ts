/**
 * Repeats one input of a target and shows it: `deno run -A tests/support/fuzz/replay.ts FILE TARGET SEED POSITION
 * [OUT]`.
 *
 * FILE is a file of tests/stress. The input is written to OUT if given, and printed if it is short.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import { AllocationMeter } from "./allocations.ts";
import { FuzzJudge } from "./judge.ts";
import { targetNamed } from "./target.ts";

/** Maximum length of a printed input, bytes. */
const MAX_PRINTED = 2048;

const [file, name, seed, position, out] = Deno.args;
if (file === undefined || name === undefined || seed === undefined || position === undefined) {
  console.error("usage: deno run -A tests/support/fuzz/replay.ts FILE TARGET SEED POSITION [OUT]");
  Deno.exit(2);
}
const meter = AllocationMeter.install();
await import(new URL(`../../stress/${file}`, import.meta.url).href);
using scratch = TempDir.make();
await using judge = await FuzzJudge.open(targetNamed(name), scratch.path, meter);
const input = judge.input(Number(seed), Number(position));
if (out !== undefined) Deno.writeFileSync(out, typeof input === "string" ? new TextEncoder().encode(input) : input);
if (input.length <= MAX_PRINTED) console.log(typeof input === "string" ? JSON.stringify(input) : input.toHex());
const fault = await judge.judge(input);
console.log(fault === undefined ? judge.accepted > 0 ? "accepted" : "refused" : fault);
Deno.exitCode = fault === undefined ? 0 : 1;
