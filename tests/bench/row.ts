/**
 * What a row of the benchmark is, and what it gets.
 *
 * @module
 */
import type { Quiet } from "./quiet.ts";
import type { Figure } from "./report.ts";
import type { WorkloadName } from "./workloads.ts";

/** What a row measures with. */
export interface Bench {
  /** How often each system is measured. */
  readonly runs: number;
  readonly workloads: readonly WorkloadName[];
  /** Bandwidths of the slow links, in MB/s. */
  readonly linksMBps: readonly number[];
  /** How long a file tree is read warm. */
  readonly seconds: number;
  /** How many lazy images are mounted at once. */
  readonly images: number;
  /** Folder that stays from run to run. */
  readonly keep: string;
  /** Folder that is removed at the end; its path is short, as sockets go below it. */
  readonly scratch: string;
  /** The executable that is measured. */
  readonly program: string;
  readonly quiet: Quiet;
  /** Tells what is being done. */
  progress(step: string): void;
}

/** One comparison. */
export interface Row {
  readonly name: string;
  /** What is compared with what, in a line. */
  readonly about: string;
  run(bench: Bench): Promise<Figure[]>;
}

/** One of the systems that are compared: `measure` does it once. */
export interface System<T> {
  readonly name: string;
  measure(): Promise<T>;
}

/** Measures every system `bench.runs` times, in turn, each when the machine is quiet. Results by name, in order. */
export async function inTurn<T>(
  bench: Bench,
  systems: readonly System<T>[],
): Promise<ReadonlyMap<string, readonly T[]>> {
  const results = new Map<string, T[]>(systems.map(({ name }) => [name, []]));
  for (let run = 0; run < bench.runs; run++) {
    for (const { name, measure } of systems) {
      await bench.quiet.wait();
      results.get(name)?.push(await measure());
    }
  }
  return results;
}

/** One property of the results, as {@link Figure.values}. */
export function valuesOf<K extends string>(
  results: ReadonlyMap<string, readonly Readonly<Record<K, number>>[]>,
  key: K,
): Record<string, number[]> {
  return Object.fromEntries([...results].map(([system, each]) => [system, each.map((result) => result[key])]));
}

/** Drops page cache, dentries and inodes, of the whole machine. */
export async function dropCaches(): Promise<void> {
  await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
}
