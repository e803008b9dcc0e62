/**
 * The cached copy of a blob's chunk table. It changes in the background: readers do not wait for the disk.
 *
 * ```
 *   keep ─► <name>.blob.meta ─► set aside: it led to wrong bytes ─► <name>.blob.meta.doubtful ─► keep: removed
 * ```
 * A failure is logged: a table that cannot be stored is fetched again.
 *
 * @module
 */
import { ignore, messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { TableCache } from "../tables/table_source.ts";
import type { BlobPaths } from "./blob_paths.ts";
import type { CacheFolder } from "./cache_folder.ts";

const log = logger("blob");

/** The files of one blob's chunk table. */
export class CachedTable implements TableCache {
  readonly path: string;
  readonly doubtfulPath: string;
  /** The last change. Never rejects. */
  #changing: Promise<void> = Promise.resolve();

  constructor(private readonly folder: CacheFolder, { meta, doubtfulMeta }: BlobPaths) {
    this.path = meta;
    this.doubtfulPath = doubtfulMeta;
  }

  /** Stores the table and removes the doubtful one. */
  keep(content: Uint8Array): void {
    this.#change("blob meta not cached", async () => {
      await this.folder.replace(this.path, content);
      await ignore(Deno.errors.NotFound, Deno.remove(this.doubtfulPath));
    });
  }

  /** Sets the table aside, so that the next open fetches a fresh one and falls back to this one. */
  setAside(): void {
    this.#change("blob meta not set aside", async () => {
      await ignore(Deno.errors.NotFound, Deno.rename(this.path, this.doubtfulPath)); // not cached, or aside already
    });
  }

  /** Resolves when every change is on disk, or has failed. */
  settled(): Promise<void> {
    return this.#changing;
  }

  #change(failure: string, change: () => Promise<void>): void {
    this.#changing = this.#changing.then(change).catch((error) => {
      log.warn(failure, { path: this.path, error: messageOf(error) });
    });
  }
}
