/**
 * Numbers of snapshots, which are never given twice: images, their mounts and cached state are named by them.
 *
 * The file holds a number that is greater than all that were given. It is written once for many numbers; those that are
 * left when the process ends are skipped.
 *
 * If it is lost, the numbers of snapshots that were removed are not known: a container may still run on one, and state
 * may be named by it. Numbers then continue at the time in milliseconds. Nobody creates a thousand snapshots a second for
 * years, so all that were ever given are smaller, also those after an earlier loss.
 *
 * @module
 */
import * as v from "valibot";
import { readJsonFile, timeAfterChange, writeJsonFile } from "../base/json_file.ts";
import { KeyedMutex } from "../base/keyed_mutex.ts";
import { logger } from "../base/log.ts";

const log = logger("snapshot");

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
   * Reads the file. Without it, numbers start at 1 if none is in use, and otherwise where all are new.
   *
   * @param used numbers that are in use
   * @throws {NydusGdError} "io" if something else than a file is there
   */
  static async open(path: string, used: readonly number[]): Promise<SnapshotNumbers> {
    const read = await readNext(path);
    const isLost = read === "damaged" || (read === undefined && used.length > 0);
    let next = isLost ? await timeAfterChange(path) : read ?? 1;
    for (const number of used) next = Math.max(next, number + 1);
    if (isLost) log.warn("the numbers of snapshots are lost, continuing with new ones", { path, next });
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

/** The number in the file; undefined if there is none. */
async function readNext(path: string): Promise<number | "damaged" | undefined> {
  try {
    const document = await readJsonFile(path);
    return document === undefined ? undefined : v.parse(State, document).next;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof v.ValiError) return "damaged";
    throw error;
  }
}
