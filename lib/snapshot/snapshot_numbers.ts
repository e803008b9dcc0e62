/**
 * Numbers of snapshots, which are never given twice: images, their mounts and cached state are named by them.
 *
 * The file holds a number that is greater than all that were given. It is written once for many numbers; those that are
 * left when the process ends are skipped.
 *
 * @module
 */
import * as v from "valibot";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import { KeyedMutex } from "../base/keyed_mutex.ts";

const State = v.object({ next: v.pipe(v.number(), v.safeInteger(), v.minValue(1)) });

/** Numbers that are reserved by one write. */
const RESERVED = 64;

/** Gives numbers from 1. */
export class SnapshotNumbers {
  readonly #taking = new KeyedMutex<"number">();
  /** The number on disk. */
  #limit: number;

  private constructor(private readonly path: string, private next: number) {
    this.#limit = next;
  }

  /**
   * Reads the file, if there is one.
   *
   * @param used numbers that are in use
   * @throws {NydusGdError} "corrupt" for an invalid file: guessing could give a number again
   */
  static async open(path: string, used: Iterable<number>): Promise<SnapshotNumbers> {
    let next = 1;
    try {
      const document = await readJsonFile(path);
      if (document !== undefined) next = v.parse(State, document).next;
    } catch (error) {
      if (!(error instanceof SyntaxError) && !(error instanceof v.ValiError)) throw error;
      throw new NydusGdError("corrupt", `Cannot read "${path}": ${messageOf(error)}`, { cause: error });
    }
    for (const number of used) next = Math.max(next, number + 1);
    return new SnapshotNumbers(path, next);
  }

  /** Returns a number that has never been given. */
  take(): Promise<number> {
    return this.#taking.run("number", async () => {
      if (this.next === this.#limit) {
        await writeJsonFile(this.path, { next: this.#limit + RESERVED });
        this.#limit += RESERVED;
      }
      return this.next++;
    });
  }
}
