/**
 * Compiles tree_bench.c and makes the lists of paths that it reads.
 *
 * @module
 */
import { walk } from "./walk.ts";
import { REPOSITORY } from "../support/repository.ts";
import { output } from "./programs.ts";

const SOURCE = `${REPOSITORY}/tests/bench/tree_bench.c`;

/** Maximum size of small files, and minimum size of large ones. */
const SMALL_BYTES = 64 * 1024;
const LARGE_BYTES = 1024 * 1024;

/** What is measured on a tree. */
export type Measure = "stat" | "readdir" | "small files" | "sequential" | "random 4 KiB";
/** "fresh": caches are left as they are. */
export type Temperature = "cold" | "fresh" | "warm";

/** How each is measured, and its unit: thousands of operations, or megabytes, per second. */
const MEASURES: Readonly<Record<Measure, { verb: string; list: keyof Lists; unit: "k/s" | "MB/s" }>> = {
  "stat": { verb: "stat", list: "all", unit: "k/s" },
  "readdir": { verb: "readdir", list: "directories", unit: "k/s" },
  "small files": { verb: "read", list: "small", unit: "k/s" },
  "sequential": { verb: "read", list: "large", unit: "MB/s" },
  "random 4 KiB": { verb: "random", list: "large", unit: "k/s" },
};

export const MEASURE_NAMES = Object.keys(MEASURES) as Measure[];

/** Files that contain lists of paths. */
interface Lists {
  readonly all: string;
  readonly directories: string;
  readonly files: string;
  readonly small: string;
  readonly large: string;
}

/** The compiled program and the lists of one tree. */
export class TreeBench {
  private constructor(private readonly program: string, private readonly lists: Lists) {}

  /**
   * Compiles it and lists `tree`, whose paths must exist in all measured trees.
   *
   * @param dir path of a new directory
   */
  static async make(tree: string, dir: string): Promise<TreeBench> {
    await Deno.mkdir(dir);
    const program = `${dir}/tree_bench`;
    await output("gcc", ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE]);
    return new TreeBench(program, await writeLists(tree, dir));
  }

  /** Reads everything below `root` once, to fill all caches. */
  async readAll(root: string): Promise<void> {
    await this.#run("read", "cold", Infinity, root, this.lists.files);
  }

  /** Takes one measurement, in the unit of {@link unitOf}. */
  async measure(measure: Measure, temperature: Temperature, seconds: number, root: string): Promise<number> {
    const { verb, list, unit } = MEASURES[measure];
    const { done, bytes, took } = await this.#run(verb, temperature, seconds, root, this.lists[list]);
    return (unit === "k/s" ? done / 1e3 : bytes / 1e6) / took;
  }

  async #run(
    verb: string,
    temperature: Temperature,
    seconds: number,
    root: string,
    list: string,
  ): Promise<{ done: number; bytes: number; took: number }> {
    const limit = Number.isFinite(seconds) ? String(seconds) : "inf";
    const text = await output(this.program, [verb, temperature, limit, root, list]);
    const [done = NaN, bytes = NaN, took = NaN] = text.trim().split(" ").map(Number);
    return { done, bytes, took };
  }
}

/** Returns the unit of {@link TreeBench.measure}. */
export function unitOf(measure: Measure): string {
  return MEASURES[measure].unit;
}

/** Lists the paths below `tree` in a shuffled but reproducible order. */
async function writeLists(tree: string, dir: string): Promise<Lists> {
  const paths: Record<keyof Lists, string[]> = { all: [], directories: [], files: [], small: [], large: [] };
  for await (const { path, info } of walk(tree)) {
    paths.all.push(path);
    if (info.isDirectory) paths.directories.push(path);
    if (!info.isFile || info.size === 0) continue;
    paths.files.push(path);
    if (info.size <= SMALL_BYTES) paths.small.push(path);
    if (info.size >= LARGE_BYTES) paths.large.push(path);
  }
  const lists = Object.fromEntries(Object.keys(paths).map((name) => [name, `${dir}/${name}`])) as Record<
    keyof Lists,
    string
  >;
  for (const [name, list] of Object.entries(paths) as [keyof Lists, string[]][]) {
    await Deno.writeTextFile(lists[name], shuffled(list.sort()).map((path) => `${path}\0`).join(""));
  }
  return lists;
}

function shuffled(paths: string[]): string[] {
  let state = 12345;
  for (let i = paths.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const other = Math.floor(state / 2 ** 32 * (i + 1));
    [paths[i], paths[other]] = [paths[other] ?? "", paths[i] ?? ""];
  }
  return paths;
}
