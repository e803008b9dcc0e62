/**
 * Fuzz targets: a parser, the source of its inputs, and what it may do with them.
 *
 * ```ts
 * fuzz(import.meta, {
 *   name: "references",
 *   inputs: () => new TextMutator(["localhost:5000/a/b:1"]),
 *   open: () => (input) => void parseReference(input),
 * });
 * ```
 * A run passes inputs 0, 1, 2 … of a seed to a parser, each derived only from seed and position. An input is a fault if
 * the parser throws anything but a {@link NydusGdError} (or what the target allows), exceeds its limits of CPU time or
 * memory, or kills the process, or if a check of the target fails because an accepted input gave a wrong result.
 *
 * The inputs run in separate processes (child.ts), which campaign.ts starts and monitors.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";
import { runCampaign } from "./campaign.ts";
import type { Random } from "./random.ts";

/** Makes inputs. */
export interface Inputs<T extends Uint8Array | string> {
  make(random: Random): T;
}

/** Passes one input to the parser and throws what the parser throws. Disposed of at the end if it holds resources. */
export type FuzzRun<T> = ((input: T) => unknown) & Partial<AsyncDisposable>;

/** One parser. */
export interface FuzzTarget<T extends Uint8Array | string = Uint8Array | string> {
  /** Unique in its file. */
  readonly name: string;
  readonly inputs: () => Inputs<T> | Promise<Inputs<T>>;
  /** @param scratch an empty directory of this process */
  readonly open: (scratch: string) => FuzzRun<T> | Promise<FuzzRun<T>>;
  /** Errors besides {@link NydusGdError} that the parser documents. */
  readonly allows?: (error: unknown) => boolean;
  /** Maximum bytes of typed arrays for an input of `length` bytes. Default: 32 MiB plus 64 times its length. */
  readonly allocation?: (length: number) => number;
  /** Runs only one in this many inputs: for targets that need the disk or a process. Default 1. */
  readonly oneIn?: number;
  /** Why the target cannot run here. */
  readonly missing?: string | undefined;
}

const targets = new Map<string, FuzzTarget>();

/** Returns a target of an imported module. */
export function targetNamed(name: string): FuzzTarget {
  const target = targets.get(name);
  if (target === undefined) throw new Error(`Cannot fuzz "${name}": one of ${[...targets.keys()].join(", ")}`);
  return target;
}

/** Declares a target and the test that runs it. */
export function fuzz<T extends Uint8Array | string>(module: ImportMeta, target: FuzzTarget<T>): void {
  targets.set(target.name, target as unknown as FuzzTarget);
  if (target.missing !== undefined) console.log(`skipped: ${target.name}: ${target.missing}`);
  Deno.test({
    name: `no input, however mutated, yields a wrong result: ${target.name}`,
    ignore: target.missing !== undefined,
    fn: () => runCampaign(module.url, target.name, target.oneIn ?? 1),
  });
}

/** Engine exceptions that a parser never throws intentionally. */
const ENGINE =
  /call stack|[Ii]nvalid (typed )?array|buffer (allocation|length)|string length|out of memory|offset is out/;

/** Whether a parser may answer with this error. */
export function isRefusal(target: Pick<FuzzTarget, "allows">, error: unknown): boolean {
  if (error instanceof NydusGdError) return error.code !== "internal";
  if (error instanceof RangeError && ENGINE.test(error.message)) return false;
  return target.allows?.(error) ?? false;
}
