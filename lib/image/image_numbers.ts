/**
 * The number of each image in node ids: given once, kept for good, never given again.
 *
 * The overlay of a running container holds node ids of its image for as long as it lives, over restarts of the daemon,
 * so a number means the same image for ever. State: one JSON file, replaced whole.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";

const counting = v.pipe(v.number(), v.integer(), v.minValue(1));
const State = v.object({ next: counting, numbers: v.record(v.string(), counting) });

/** Numbers by image name. */
export class ImageNumbers {
  private constructor(private readonly path: string, private readonly state: v.InferOutput<typeof State>) {}

  /**
   * Reads the state, or starts a new one.
   *
   * @throws {NydusGdError} "io" on a file that is not ours: guessing would reuse a number
   */
  static async open(path: string): Promise<ImageNumbers> {
    const state = v.safeParse(State, await readJsonFile(path) ?? { next: 1, numbers: {} });
    if (!state.success) {
      throw new NydusGdError("io", `Cannot read image numbers ${path}: ${state.issues[0].message}`);
    }
    return new ImageNumbers(path, state.output);
  }

  /** The number of `name`, a new one on its first call; durable before it is returned. */
  async of(name: string): Promise<number> {
    const known = this.state.numbers[name];
    if (known !== undefined) return known;
    const number = this.state.next++;
    this.state.numbers[name] = number;
    await writeJsonFile(this.path, this.state);
    return number;
  }

  /** Forgets an image that is gone; its number stays used. */
  async forget(name: string): Promise<void> {
    if (this.state.numbers[name] === undefined) return;
    delete this.state.numbers[name];
    await writeJsonFile(this.path, this.state);
  }
}
