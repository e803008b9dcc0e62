/**
 * Measures nydus-gd against what its users have today and prints tables; run by scripts/bench.sh.
 *
 * ```
 * deno run -A tests/bench/bench.ts [ROW…] [options]
 * ```
 * Every row compares systems in turn within one run (A B A B), on an otherwise quiet machine, and shows medians. Tables
 * go to standard output as Markdown; all individual values, with kernel and versions, to a JSON file.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { NydusGdError } from "../../lib/base/errors.ts";
import { VERSION } from "../../lib/base/version.ts";
import { bytesRow } from "./bytes_row.ts";
import { convertRow } from "./convert_row.ts";
import { erofsRow } from "./erofs_row.ts";
import { freshRow } from "./fresh_row.ts";
import { fuseRow } from "./fuse_row.ts";
import { latencyRow } from "./latency_row.ts";
import { memoryRow } from "./memory_row.ts";
import { versionOf } from "./programs.ts";
import { Quiet } from "./quiet.ts";
import { registryRow } from "./registry_row.ts";
import { prefetchRow } from "./prefetch_row.ts";
import { type Figure, markdown } from "./report.ts";
import type { Bench, Row } from "./row.ts";
import { startRow } from "./start_row.ts";
import { USUAL_WORKLOADS, type WorkloadName, WORKLOADS } from "./workloads.ts";

const ROOT = decodeURIComponent(new URL("../..", import.meta.url).pathname);
const ROWS: readonly Row[] = [
  fuseRow,
  erofsRow,
  freshRow,
  registryRow,
  startRow,
  bytesRow,
  latencyRow,
  prefetchRow,
  memoryRow,
  convertRow,
];

const USAGE = `usage: sh scripts/bench.sh [ROW…] [options]

${ROWS.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join("\n")}

  --runs N            how often each system is measured (5)
  --workloads A,B     of ${Object.keys(WORKLOADS).join(", ")} (${USUAL_WORKLOADS.join(",")})
  --links A,B         links in MB/s (3,12)
  --seconds N         how long a file tree is read warm; cold at most four times as long (2)
  --images N          lazy images of the row memory (20)
  --keep DIR          where what was built is kept (.tools/bench)
  --results DIR       where the JSON goes (bench/results)
  --quiet-wait N      seconds to wait in all for other processes to use less than 15 % of the CPUs (120)
`;

async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      runs: { type: "string", default: "5" },
      workloads: { type: "string", default: USUAL_WORKLOADS.join(",") },
      links: { type: "string", default: "3,12" },
      seconds: { type: "string", default: "2" },
      images: { type: "string", default: "20" },
      keep: { type: "string", default: `${ROOT}.tools/bench` },
      results: { type: "string", default: `${ROOT}bench/results` },
      "quiet-wait": { type: "string", default: "120" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const rows = chosen(positionals, ROWS, ({ name }) => name);
  const scratch = Deno.env.get("BENCH_SCRATCH");
  if (scratch === undefined) throw new NydusGdError("usage", "Cannot run benchmarks: BENCH_SCRATCH is not set");
  const quiet = new Quiet(positive("quiet-wait", values["quiet-wait"], 0) * 1000);
  const bench: Bench = {
    runs: positive("runs", values.runs),
    workloads: chosen(values.workloads.split(","), Object.keys(WORKLOADS) as WorkloadName[], (name) => name),
    linksMBps: values.links.split(",").map((link) => positive("links", link)),
    seconds: positive("seconds", values.seconds),
    images: positive("images", values.images, 2),
    keep: values.keep,
    scratch,
    program: await build(`${scratch}/dist`),
    quiet,
    progress,
  };
  const done: { row: string; figures: readonly Figure[] }[] = [];
  for (const row of rows) {
    progress(`${row.name}: ${row.about}`);
    const figures = await row.run(bench);
    done.push({ row: row.name, figures });
    console.log(`\n${markdown(row.name, figures)}`);
  }
  console.log(`\n${quiet.report}`);
  const record = { ...await machine(), quiet: quiet.report, rows: done };
  await Deno.mkdir(values.results, { recursive: true });
  const path = `${values.results}/${new Date().toISOString().replace(/\..*/, "").replaceAll(":", "")}.json`;
  await Deno.writeTextFile(path, `${JSON.stringify(record, null, 2)}\n`);
  console.log(`every value: ${path}`);
}

/** Describes the machine and the versions measured. */
async function machine(): Promise<Record<string, unknown>> {
  const versions = { "nydus-gd": VERSION, deno: Deno.version.deno };
  const programs = ["dockerd", "nydusd", "nydus-image"];
  const found = await Promise.all(programs.map(async (name) => [name, await versionOf(name) ?? null] as const));
  return {
    measuredAt: new Date().toISOString(),
    kernel: Deno.osRelease(),
    cpus: navigator.hardwareConcurrency,
    memoryBytes: Deno.systemMemoryInfo().total,
    versions: { ...versions, ...Object.fromEntries(found) },
  };
}

/** Builds the executable that users get; unpacked, so that no measurement includes that. */
async function build(dist: string): Promise<string> {
  progress("building nydus-gd");
  const script = `${ROOT}scripts/build_binary.ts`;
  await run(Deno.execPath(), ["run", "--allow-all", "--quiet", script, "--no-deb", "--dist", dist]);
  const program = `${dist}/nydus-gd`;
  await run(program, ["version"]);
  return program;
}

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  if (success) return;
  const said = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
  throw new NydusGdError("environment", `Cannot run ${program}: ${said}`);
}

/** Returns the named ones in their own order; all if none is named. */
function chosen<T>(names: readonly string[], all: readonly T[], nameOf: (each: T) => string): T[] {
  const known = all.map(nameOf);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new NydusGdError("usage", `Cannot measure ${unknown}: not one of ${known.join(", ")}`);
  }
  return all.filter((each) => names.length === 0 || names.includes(nameOf(each)));
}

function positive(option: string, text: string, least = Number.MIN_VALUE): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value >= least) return value;
  throw new NydusGdError("usage", `Cannot use --${option} ${text}: it is not a number of at least ${least}`);
}

function progress(step: string): void {
  console.error(`bench: ${step}`);
}

try {
  await main(Deno.args);
} catch (error) {
  if (!(error instanceof NydusGdError)) throw error;
  console.error(`bench: ${error.message}${error.hint === undefined ? "" : `\nhint: ${error.hint}`}`);
  Deno.exit(error.code === "usage" ? 2 : 1);
}
