/**
 * Persists what the first containers of each image waited for, to be fetched first when the image is cold again.
 *
 * There is one small file per bootstrap in the folder `learned`, named by the bootstrap's SHA-256. It refers to neither
 * layers nor backends, so it applies to every layer with that bootstrap and outlives them.
 *
 * ```json
 * { "version": 1, "reads": [[0, 1048576, 4096], [0, 8192, 16384]] }      blob, offset, length; in order of first access
 * ```
 * A file that cannot be read counts as empty and is replaced; its content can be learned again.
 *
 * @module
 */
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { logger } from "../../base/log.ts";
import { makeFolder } from "../../base/make_folder.ts";
import { UseTimes } from "../../base/use_times.ts";
import { type BlobRange, ReadCoverage } from "./read_coverage.ts";

const log = logger("image", "learned");

/** Maximum ranges per image. */
export const MAX_READS = 4096;
/** Maximum number of images; the least recently used are removed first. */
const MAX_IMAGES = 256;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const FILE = v.object({
  version: v.literal(1),
  reads: v.pipe(v.array(v.tuple([count, count, v.pipe(count, v.minValue(1))])), v.maxLength(MAX_READS)),
});

/** The learned reads of all images. */
export class LearnedReads {
  /** By digest. */
  readonly #changing = new KeyedMutex<string>();

  private constructor(private readonly folder: string, private readonly uses: UseTimes) {}

  /** Creates the folder if it is missing. */
  static async open(folder: string): Promise<LearnedReads> {
    await makeFolder(folder);
    const times = (await filesIn(folder)).map(({ usedMs }) => usedMs);
    return new LearnedReads(folder, new UseTimes(() => Math.max(0, ...times)));
  }

  /** Returns the reads of an image in order of first access. @param digest of its bootstrap: 64 hexadecimal digits */
  async of(digest: string): Promise<BlobRange[]> {
    const path = this.#pathOf(digest);
    let document: unknown;
    try {
      document = await readJsonFile(path);
    } catch (error) {
      log.warn("learned reads cannot be read", { path, error: messageOf(error) });
      return [];
    }
    if (document === undefined) return [];
    const file = v.safeParse(FILE, document);
    if (!file.success) {
      log.warn("learned reads are damaged", { path, reason: file.issues[0].message });
      return [];
    }
    await this.#markUsed(path);
    return file.output.reads.map(([blobIndex, offset, length]) => ({ blobIndex, offset, length }));
  }

  /** Appends reads that are not covered yet. Durable once resolved. */
  add(digest: string, reads: readonly BlobRange[]): Promise<void> {
    return this.#changing.run(digest, async () => {
      const known = await this.of(digest);
      const covered = new ReadCoverage(known);
      const more = reads.filter((read) => !covered.has(read)).slice(0, MAX_READS - known.length);
      if (more.length === 0) return;
      const all = [...known, ...more].map(({ blobIndex, offset, length }) => [blobIndex, offset, length]);
      const path = this.#pathOf(digest);
      await writeJsonFile(path, { version: 1, reads: all });
      await this.#markUsed(path);
      await this.#forgetOldest();
    });
  }

  async #markUsed(path: string): Promise<void> {
    const time = this.uses.next();
    await Deno.utime(path, time, time).catch((error) => log.debug("age not recorded", { path, error }));
  }

  async #forgetOldest(): Promise<void> {
    const files = (await filesIn(this.folder)).sort((a, b) => a.usedMs - b.usedMs);
    for (const { path } of files.slice(0, Math.max(0, files.length - MAX_IMAGES))) await Deno.remove(path);
  }

  #pathOf(digest: string): string {
    return join(this.folder, `${digest}.json`);
  }
}

async function filesIn(folder: string): Promise<{ readonly path: string; readonly usedMs: number }[]> {
  const paths = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => join(folder, name));
  return await Promise.all(
    paths.map(async (path) => ({ path, usedMs: (await Deno.stat(path)).mtime?.getTime() ?? 0 })),
  );
}
