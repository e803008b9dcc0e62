/**
 * A JSON file that is kept twice, as `<path>` and `<path>.copy`, because nothing else tells what it says.
 *
 * Each write replaces first the one, then the other, durably. A crash in between leaves a copy that is one write older;
 * it counts only if the file itself is lost.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { messageOf, NydusGdError } from "./errors.ts";
import { readJsonFile, writeJsonFile } from "./json_file.ts";
import { logger } from "./log.ts";

const log = logger("base");

/** What one of the two says, or why that cannot be told. */
type Reading<T> = { readonly value: T } | { readonly reason: string } | undefined;

/** One such file; only one process may write it. */
export class TwofoldFile<S extends v.GenericSchema> {
  readonly #copy: string;

  /** @param schema of its content @param remedy what to do if both are damaged, after their removal */
  constructor(private readonly path: string, private readonly schema: S, private readonly remedy: string) {
    this.#copy = `${path}.copy`;
  }

  /**
   * Reads the file, or the copy in its place; undefined if there is neither.
   *
   * @throws {NydusGdError} "corrupt" if neither can be used, "io" if one cannot be read; with a hint
   */
  async read(): Promise<v.InferOutput<S> | undefined> {
    const file = await this.#readOne(this.path);
    if (file !== undefined && "value" in file) return file.value;
    const copy = await this.#readOne(this.#copy);
    const reason = file?.reason ?? "it is missing";
    if (copy !== undefined && "value" in copy) {
      log.warn("state file is lost, its copy is used", { path: this.path, reason });
      return copy.value;
    }
    if (file === undefined && copy === undefined) return undefined;
    throw new NydusGdError("corrupt", `Cannot read "${this.path}": ${reason}`, {
      hint: `rm -f "${this.path}" "${this.#copy}", then ${this.remedy}`,
    });
  }

  /** Writes those of the two anew that do not say `value`, which was read. What cannot be written is logged. */
  async mend(value: unknown): Promise<void> {
    for (const path of [this.path, this.#copy]) {
      try {
        const reading = await this.#readOne(path);
        const isWhole = reading !== undefined && "value" in reading && isDeepStrictEqual(reading.value, value);
        if (!isWhole) await writeJsonFile(path, value);
      } catch (error) {
        log.warn("state file is not kept twice", { path, reason: messageOf(error) });
      }
    }
  }

  async write(value: unknown): Promise<void> {
    await writeJsonFile(this.path, value);
    await writeJsonFile(this.#copy, value);
  }

  async #readOne(path: string): Promise<Reading<v.InferOutput<S>>> {
    try {
      const document = await readJsonFile(path);
      return document === undefined ? undefined : { value: v.parse(this.schema, document) };
    } catch (error) {
      if (!(error instanceof SyntaxError) && !(error instanceof v.ValiError)) throw error;
      return { reason: error.message };
    }
  }
}
