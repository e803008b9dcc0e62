/**
 * What is fuzzed: a parser, where its inputs come from, and what it may do with them.
 *
 * ```ts
 * fuzz(import.meta, {
 *   name: "references",
 *   inputs: () => new TextMutator(["localhost:5000/a/b:1"]),
 *   open: () => (input) => void parseReference(input),
 * });
 * ```
 * A run hands a parser inputs 0, 1, 2 … of a seed, each made from nothing but seed and position. An input is a fault when
 * the parser throws anything but a {@link NydusGdError} (or what the target allows), takes more processor time or memory
 * than its limits, ends the process, or when a check of the target fails: what was accepted is not what it should be.
 *
 * The inputs run in processes of their own (child.ts), which campaign.ts starts and watches.
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

/** Hands one input to the parser. Throws what the parser throws. Disposed of at the end where it holds something. */
export type Run<T> = ((input: T) => unknown) & Partial<AsyncDisposable>;

/** One parser. */
export interface FuzzTarget<T extends Uint8Array | string = Uint8Array | string> {
  /** Unique in its file. */
  readonly name: string;
  readonly inputs: () => Inputs<T> | Promise<Inputs<T>>;
  /** @param scratch an empty folder of this process's own */
  readonly open: (scratch: string) => Run<T> | Promise<Run<T>>;
  /** Errors beside {@link NydusGdError} that the parser documents. */
  readonly allows?: (error: unknown) => boolean;
  /** Bytes of typed arrays that an input of `length` bytes may cost. Default 32 MiB and 64 times its length. */
  readonly allocation?: (length: number) => number;
  /** One input in so many of the number that is asked for: for targets that need the disk or a process. Default 1. */
  readonly oneIn?: number;
  /** Why the target cannot run here. */
  readonly missing?: string | undefined;
}

const targets = new Map<string, FuzzTarget>();

/** A target of a module that was imported. */
export function targetNamed(name: string): FuzzTarget {
  const target = targets.get(name);
  if (target === undefined) throw new Error(`Cannot fuzz "${name}": one of ${[...targets.keys()].join(", ")}`);
  return target;
}

/** Declares a target, and the test that runs it. */
export function fuzz<T extends Uint8Array | string>(module: ImportMeta, target: FuzzTarget<T>): void {
  targets.set(target.name, target as unknown as FuzzTarget);
  if (target.missing !== undefined) console.log(`skipped: ${target.name}: ${target.missing}`);
  Deno.test({
    name: `whatever bytes it is given, nothing wrong gets through: ${target.name}`,
    ignore: target.missing !== undefined,
    fn: () => runCampaign(module.url, target.name, target.oneIn ?? 1),
  });
}

/** Exceptions of V8 that are never what a parser means. */
const ENGINE =
  /call stack|[Ii]nvalid (typed )?array|buffer (allocation|length)|string length|out of memory|offset is out/;

/** Whether an error is one that a parser may answer with. */
export function isRefusal(target: Pick<FuzzTarget, "allows">, error: unknown): boolean {
  if (error instanceof NydusGdError) return error.code !== "internal";
  if (error instanceof RangeError && ENGINE.test(error.message)) return false;
  return target.allows?.(error) ?? false;
}
