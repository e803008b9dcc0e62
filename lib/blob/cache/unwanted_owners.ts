/**
 * Owners of blobs that no image needs any more, although they are not removed yet: somebody still reads them.
 *
 * They are on disk, so that the next server removes what this one could not: it was killed, or it left the images to its
 * successor.
 *
 * ```
 * <cache folder>/.nydus-gd.unwanted     ["<owner>", …], as in blob_names.ts; absent if there are none
 * ```
 * A damaged file counts as absent: `nydus-gd gc` finds the blobs as well.
 *
 * @module
 */
import * as v from "valibot";
import { ignore, messageOf } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { logger } from "../../base/log.ts";
import type { CacheFolder } from "./cache_folder.ts";

const log = logger("blob");

/** Name of the file. */
const UNWANTED_NAME = ".nydus-gd.unwanted";

const Owners = v.array(v.string());

/** The unwanted owners of one cache folder. */
export class UnwantedOwners {
  readonly #path: string;
  readonly #owners = new Set<string>();
  /** Those of an earlier server. They may be needed again: only who knows all images can tell. */
  readonly #earlier: Set<string>;
  readonly #saving = new KeyedMutex<"file">();
  #saved: string;

  constructor(private readonly folder: CacheFolder) {
    this.#path = `${folder.path}/${UNWANTED_NAME}`;
    this.#earlier = new Set(folder.keeps ? readOwners(this.#path) : []);
    this.#saved = this.#text();
  }

  get size(): number {
    return this.#owners.size;
  }

  has(owner: string): boolean {
    return this.#owners.has(owner);
  }

  /** Adds owners, those of an earlier server as well. */
  add(owners: Iterable<string>): void {
    for (const owner of owners) {
      this.#earlier.delete(owner);
      this.#owners.add(owner);
    }
  }

  /** Removes owners, those of an earlier server as well. */
  delete(owners: Iterable<string>): void {
    for (const owner of owners) {
      this.#earlier.delete(owner);
      this.#owners.delete(owner);
    }
  }

  /** The owners of this server. */
  list(): string[] {
    return [...this.#owners];
  }

  /** The owners of an earlier server that were neither added nor removed since. */
  listEarlier(): string[] {
    return [...this.#earlier];
  }

  /** Writes the file, durably, if it has changed. @throws {Error} the disk's error */
  async save(): Promise<void> {
    if (!this.folder.keeps || this.#text() === this.#saved) return;
    await this.#saving.run("file", async () => {
      const text = this.#text();
      if (text === this.#saved) return;
      if (this.#owners.size + this.#earlier.size > 0) {
        await this.folder.replace(this.#path, new TextEncoder().encode(text));
      } else {
        await ignore(Deno.errors.NotFound, Deno.remove(this.#path));
      }
      this.#saved = text;
    });
  }

  #text(): string {
    return JSON.stringify([...this.#owners.union(this.#earlier)].sort());
  }
}

function readOwners(path: string): string[] {
  try {
    return v.parse(Owners, JSON.parse(Deno.readTextFileSync(path)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    log.warn("list of unwanted blobs cannot be read", { path, reason: messageOf(error) });
    return [];
  }
}
