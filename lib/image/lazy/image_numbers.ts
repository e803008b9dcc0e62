/**
 * Assigns each image a number for its node IDs. A number is never reused.
 *
 * The overlay of a running container keeps node IDs of its image for its whole life, across restarts of the daemon, so
 * a number must always mean the same image. State: one JSON file, replaced atomically.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";

const counting = v.pipe(v.number(), v.integer(), v.minValue(1));
/** Pairs instead of an object, so that any name works, even "constructor". */
const State = v.object({ next: counting, numbers: v.array(v.tuple([v.string(), counting])) });

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
   * Reads the state, or starts with an empty one.
   *
   * @throws {NydusGdError} "io" for an invalid or inconsistent file: guessing could reuse a number
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
    await writeJsonFile(this.path, { next: this.next, numbers: [...numbers] });
    this.numbers = numbers;
  }
}
