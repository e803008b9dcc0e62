/**
 * The interface of a benchmark row, and what it gets to work with.
 *
 * @module
 */
import type { Quiet } from "./quiet.ts";
import type { Figure } from "./report.ts";
import type { WorkloadName } from "./workloads.ts";

/** The environment of a row. */
export interface Bench {
  /** Number of measurements per system. */
  readonly runs: number;
  readonly workloads: readonly WorkloadName[];
  /** Bandwidths of the slow links, in MB/s. */
  readonly linksMBps: readonly number[];
  /** Seconds for which a warm file tree is read. */
  readonly seconds: number;
  /** Number of lazy images mounted at once. */
  readonly images: number;
  /** Directory kept between runs. */
  readonly keep: string;
  /** Directory removed at the end; its path is short, as it contains sockets. */
  readonly scratch: string;
  /** The executable to measure. */
  readonly program: string;
  readonly quiet: Quiet;
  /** Reports the current step. */
  progress(step: string): void;
}

/** One comparison. */
export interface Row {
  readonly name: string;
  /** What is compared, in one line. */
  readonly about: string;
  run(bench: Bench): Promise<Figure[]>;
}

/** One of the compared systems; `measure` takes one measurement. */
export interface System<T> {
  readonly name: string;
  measure(): Promise<T>;
}

/** Measures every system `bench.runs` times, in turn, each on a quiet machine. Returns results by name, in order. */
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

/** Returns one property of the results, in the form of {@link Figure.values}. */
export function valuesOf<K extends string>(
  results: ReadonlyMap<string, readonly Readonly<Record<K, number>>[]>,
  key: K,
): Record<string, number[]> {
  return Object.fromEntries([...results].map(([system, each]) => [system, each.map((result) => result[key])]));
}

/** Drops page cache, dentries and inodes of the whole machine. */
export async function dropCaches(): Promise<void> {
  await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
}
