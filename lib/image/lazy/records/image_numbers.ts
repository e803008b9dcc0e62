/**
 * Assigns each image a number for its node IDs. A number is never reused.
 *
 * The overlay of a running container keeps node IDs of its image for its whole life, across restarts of the daemon, so
 * a number must always mean the same image. State: one JSON file, replaced atomically, and after it a copy of it.
 *
 * If the file is lost or damaged, the copy tells. If that is lost as well, mounted images keep the numbers that the
 * record of mounted images has. Which numbers other images had is not known then, and the kernel may still refer to
 * those: new numbers begin where none was given before.
 *
 * Not a {@link TwofoldFile}, whose file counts whenever it is whole, and whose loss is an error: here, what others know
 * of the numbers decides whether the file or the copy is too old, and a loss of both ends with numbers that work.
 *
 * ```
 *  1 … 2^22-1            given one after the other
 *  2^22 + t … 2^23-1     given one after the other after a loss at the time t, in units of {@link LOSS_UNIT_MS}
 * ```
 * Node IDs have no room for larger numbers. A later loss begins higher, since fewer than one image in such a unit is
 * mounted for the first time, over the years.
 *
 * @module
 */
import * as v from "valibot";
import { readJsonFile, timeAfterChange, writeJsonFile } from "../../../base/json_file.ts";
import { hasCode, messageOf } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";

const log = logger("image");

const counting = v.pipe(v.number(), v.integer(), v.minValue(1));
/** Pairs instead of an object, so that any name works, even "constructor". */
const State = v.object({ next: counting, numbers: v.array(v.tuple([v.string(), counting])) });

/** The first number that is given only after a loss: half of IMAGE_LIMIT of mount/fuse/node_id.ts. */
const AFTER_LOSS = 2 ** 22;
/** The time at which units begin, 2026-01-01. */
const LOSS_EPOCH_MS = Date.UTC(2026);
/** Four minutes: 2^22 of them are 32 years. */
const LOSS_UNIT_MS = 240_000;

/** What a file says, or is to say. */
interface Numbers {
  /** Greater than every number ever assigned. */
  readonly next: number;
  readonly numbers: ReadonlyMap<string, number>;
}

/** Numbers by image name. */
export class ImageNumbers {
  /** The last change. Changes run one after the other, so that older state never overwrites newer state on disk. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly path: string,
    /** The numbers on disk. */
    private numbers: ReadonlyMap<string, number>,
    /** Greater than every number ever assigned. A failed write leaves a gap. */
    private next: number,
  ) {}

  /**
   * Reads the state. Without a file, starts with an empty one unless there have been images.
   *
   * @param mounted numbers of images that the kernel may know, by name; undefined if there has never been an image
   * @throws {NydusGdError} "io" if something else than a file is there, or the disk fails
   */
  static async open(path: string, mounted?: ReadonlyMap<string, number>): Promise<ImageNumbers> {
    const highest = Math.max(0, ...mounted?.values() ?? []);
    const copy = await usableCopy(path, highest);
    const state = await usable(path, Math.max(highest, typeof copy === "object" ? copy.next - 1 : 0));
    if (state === undefined && copy === undefined && mounted === undefined) return new ImageNumbers(path, new Map(), 1);
    const { next, numbers } = typeof state === "object" ? state : await replacement(path, copy, highest, mounted);
    const opened = new ImageNumbers(path, numbers, next);
    if (state === undefined || typeof state === "string") {
      log.warn("the numbers of images are lost, those that are known elsewhere are kept", {
        path,
        reason: state ?? "it is missing",
        known: numbers.size,
        next,
      });
      await opened.#write(numbers);
    } else if (typeof copy !== "object" || copy.next !== next) await opened.#writeCopy(numbers);
    return opened;
  }

  /** Whether `name` has a number. */
  has(name: string): boolean {
    return this.numbers.has(name);
  }

  /** Returns the number of `name`; assigns one on first use. Durable once resolved. */
  of(name: string): Promise<number> {
    return this.#change(async () => {
      const known = this.numbers.get(name);
      if (known !== undefined) return known;
      const number = this.next++;
      await this.#write(new Map(this.numbers).set(name, number));
      return number;
    });
  }

  /** Removes an image. Its number stays used. */
  forget(name: string): Promise<void> {
    return this.#change(async () => {
      const numbers = new Map(this.numbers);
      if (numbers.delete(name)) await this.#write(numbers);
    });
  }

  #change<T>(task: () => Promise<T>): Promise<T> {
    const change = this.#changing.then(task);
    this.#changing = change.catch(() => {}); // the caller gets the failure
    return change;
  }

  async #write(numbers: ReadonlyMap<string, number>): Promise<void> {
    await writeJsonFile(this.path, this.#state(numbers));
    this.numbers = numbers;
    await this.#writeCopy(numbers);
  }

  /** The numbers are safe without the copy. */
  async #writeCopy(numbers: ReadonlyMap<string, number>): Promise<void> {
    try {
      await writeJsonFile(copyOf(this.path), this.#state(numbers));
    } catch (error) {
      log.warn("the numbers of images are not kept twice", { path: copyOf(this.path), reason: messageOf(error) });
    }
  }

  #state(numbers: ReadonlyMap<string, number>) {
    return { next: this.next, numbers: [...numbers] };
  }
}

function copyOf(path: string): string {
  return `${path}.copy`;
}

/** What is known without the file at `path`. */
async function replacement(
  path: string,
  copy: Numbers | string | undefined,
  highest: number,
  mounted: ReadonlyMap<string, number> | undefined,
): Promise<Numbers> {
  // a number may have been given when the copy was about to be written
  if (typeof copy === "object") return { next: copy.next + 1, numbers: copy.numbers };
  const next = Math.max(highest + 1, await firstAfterLoss(path));
  return { next, numbers: mounted !== undefined && areDistinct(mounted) ? mounted : new Map() };
}

/** {@link usable} of the copy. If something else than a file is in its place, that is in nobody's way. */
async function usableCopy(path: string, given: number): Promise<Numbers | string | undefined> {
  try {
    return await usable(copyOf(path), given);
  } catch (error) {
    if (!hasCode(error, "io")) throw error;
    return undefined;
  }
}

/** Like {@link readNumbers}; a file that is older than a number that was given cannot be used. */
async function usable(path: string, given: number): Promise<Numbers | string | undefined> {
  const read = await readNumbers(path);
  return typeof read !== "object" || given < read.next ? read : `${given} was given and is not below the next`;
}

/** What the file says, or the reason why it cannot be used; undefined if there is none. */
async function readNumbers(path: string): Promise<Numbers | string | undefined> {
  let document: unknown;
  try {
    document = await readJsonFile(path);
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
  if (document === undefined) return undefined;
  const state = v.safeParse(State, document);
  if (!state.success) return state.issues[0].message;
  const { next } = state.output;
  const numbers = new Map(state.output.numbers);
  if (numbers.size !== state.output.numbers.length) return "an image has two numbers";
  if (!areDistinct(numbers)) return "two images have one number";
  if (numbers.values().some((number) => number >= next)) return `a number is not below the next one, ${next}`;
  return { next, numbers };
}

function areDistinct(numbers: ReadonlyMap<string, number>): boolean {
  return new Set(numbers.values()).size === numbers.size;
}

async function firstAfterLoss(path: string): Promise<number> {
  const units = Math.floor((await timeAfterChange(path) - LOSS_EPOCH_MS) / LOSS_UNIT_MS);
  return AFTER_LOSS + Math.min(Math.max(0, units), AFTER_LOSS - 2);
}
