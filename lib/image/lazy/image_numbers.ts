/**
 * The number of each image in node ids: given once, kept for good, never given again.
 *
 * The overlay of a running container holds node ids of its image for as long as it lives, over restarts of the daemon,
 * so a number means the same image for ever. State: one JSON file, replaced whole.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";

const counting = v.pipe(v.number(), v.integer(), v.minValue(1));
/** Pairs, not an object: any name is a name, "constructor" too. */
const State = v.object({ next: counting, numbers: v.array(v.tuple([v.string(), counting])) });

/** Numbers by image name. */
export class ImageNumbers {
  /** The last change; the next one begins behind it, so that what is on disk never goes back. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly path: string,
    /** What is on disk. */
    private numbers: ReadonlyMap<string, number>,
    /** Above every number that was ever given; more may be skipped, when a write failed. */
    private next: number,
  ) {}

  /**
   * Reads the state, or starts a new one.
   *
   * @throws {NydusGdError} "io" on a file that is not ours or contradicts itself: guessing would reuse a number
   */
  static async open(path: string): Promise<ImageNumbers> {
    const damaged = (what: string) => new NydusGdError("io", `Cannot read image numbers ${path}: ${what}`);
    const document = await readJsonFile(path).catch((error) => {
      throw error instanceof SyntaxError ? damaged(error.message) : error;
    });
    const state = v.safeParse(State, document ?? { next: 1, numbers: [] });
    if (!state.success) throw damaged(state.issues[0].message);
    const { next } = state.output;
    const numbers = new Map(state.output.numbers);
    if (numbers.size !== state.output.numbers.length) throw damaged("an image has two numbers");
    if (new Set(numbers.values()).size !== numbers.size) throw damaged("two images have one number");
    if (numbers.values().some((number) => number >= next)) throw damaged(`a number is not below the next one, ${next}`);
    return new ImageNumbers(path, numbers, next);
  }

  /** The number of `name`, a new one on its first call; durable before it is returned. */
  of(name: string): Promise<number> {
    return this.#change(async () => {
      const known = this.numbers.get(name);
      if (known !== undefined) return known;
      const number = this.next++;
      await this.#write(new Map(this.numbers).set(name, number));
      return number;
    });
  }

  /** Forgets an image that is gone; its number stays used. */
  forget(name: string): Promise<void> {
    return this.#change(async () => {
      const numbers = new Map(this.numbers);
      if (numbers.delete(name)) await this.#write(numbers);
    });
  }

  #change<T>(task: () => Promise<T>): Promise<T> {
    const change = this.#changing.then(task);
    this.#changing = change.catch(() => {}); // who asked for the change is told of its failure
    return change;
  }

  async #write(numbers: ReadonlyMap<string, number>): Promise<void> {
    await writeJsonFile(this.path, { next: this.next, numbers: [...numbers] });
    this.numbers = numbers;
  }
}
