/**
 * Keeps a cache within its limits, and frees blobs that are no longer wanted.
 *
 * ```
 * a chunk is to be written ──► room(bytes) ── fits ─────────────────────► written
 *                                  └────────── does not ──► evict oldest blobs not in use ──► written
 * ```
 * A blob in use is never evicted, and a write never waits for room that cannot be made: then the disk itself is the
 * limit. The last use of a blob is the mtime of its files (cache_inventory.ts), which outlives the process.
 *
 * A blob is evicted as a whole: first, durably, the records that vouch for its chunks, then its data. A process killed
 * in between leaves data that nothing vouches for.
 *
 * @module
 */
import { ignore, messageOf } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { logger } from "../../base/log.ts";
import { idOf } from "./blob_names.ts";
import { blobPaths, hasFiles } from "./blob_paths.ts";
import type { CacheFolder } from "./cache_folder.ts";
import { type LeftOver, ownerIn, type StoredBlob, takeInventory } from "./cache_inventory.ts";
import { type CacheLimits, chooseVictims, excessBytes, type Fill } from "./cache_limits.ts";
import { fileSystemFill } from "./cache_usage.ts";
import { UnwantedOwners } from "./unwanted_owners.ts";

const log = logger("blob");

/** Allowance for the records of written chunks: digests and bits, less than 1% of 4 MiB. */
const RECORD_BYTES = 64 * 1024;

/** {@link CacheSpace.room}. */
export type WithRoom = CacheSpace["room"];

/** Tracks which blobs of a cache are in use. */
export interface BlobUsers {
  isInUse(name: string): boolean;
  /** Names of all blobs in use. */
  namesInUse(): Iterable<string>;
  /** Runs `task` while nobody can start to use the blob. Returns false without running it if the blob is in use. */
  whileUnused(name: string, task: () => Promise<void>): Promise<boolean>;
}

/** What to free in addition to what exceeds the limits. */
export interface CollectOptions {
  /** Removes nothing. */
  readonly dryRun: boolean;
  /** Whether the blobs of an owner may be needed again. */
  readonly isWanted: (owner: string) => boolean;
  /** Whether another process uses blobs of an owner: one that left the cache with its images still mounted. */
  readonly isInUse?: (owner: string) => boolean;
  /** For a dry run: whether the blob is held open only for reuse and would be closed before anything is removed. */
  readonly isIdle?: (name: string) => boolean;
}

/** What was freed, or would be. */
export interface Collected {
  /** Blobs that nobody wanted. */
  readonly unwanted: readonly StoredBlob[];
  /** The least recently used blobs that exceeded the limits. */
  readonly evicted: readonly StoredBlob[];
  readonly leftOvers: readonly LeftOver[];
  /** Bytes left in the cache. */
  readonly keptBytes: number;
}

/** Enforces the limits of one cache folder. */
export class CacheSpace {
  readonly #passes = new KeyedMutex<"pass">();
  /** Bytes in the cache as of the last scan plus bytes written since; undefined before the first scan. */
  #usedBytes: number | undefined;
  /** Bytes being written, or waiting for room. */
  #comingBytes = 0;
  /** Total bytes written since the start. */
  #writtenBytes = 0;
  /** Incremented when something may have become evictable: a blob was released or is no longer wanted. */
  #changes = 0;
  /** Value of {@link #changes} at the last attempt that found nothing to evict. */
  #exhaustedAt: number | undefined;
  /** Owners whose blobs are no longer wanted, while some are in use or in the folder. */
  readonly #doomed: UnwantedOwners;

  /**
   * @param limits undefined for no limits
   * @param namesOf returns all names that files of a blob id may have
   * @param onFull called when everything evictable is gone and that is not enough: blobs held open only for reuse are
   * to be closed
   */
  constructor(
    private readonly folder: CacheFolder,
    private readonly limits: CacheLimits | undefined,
    private readonly users: BlobUsers,
    private readonly namesOf: (id: string) => readonly string[],
    private readonly onFull: () => void,
  ) {
    this.#doomed = new UnwantedOwners(folder);
  }

  /**
   * Makes room for `bytes` if needed and possible, then runs `write`.
   *
   * @returns the result of `write`; throws only what `write` throws
   */
  async room<T>(bytes: number, write: () => Promise<T>): Promise<T> {
    if (this.limits === undefined) return await write();
    this.#comingBytes += bytes;
    try {
      await this.#make(RECORD_BYTES);
      return await write();
    } finally {
      this.#comingBytes -= bytes;
      this.#writtenBytes += bytes;
      this.#usedBytes = (this.#usedBytes ?? 0) + bytes;
    }
  }

  /** Whether the cache exceeds its limits and everything in it is in use: only what readers wait for should be added. */
  get isExhausted(): boolean {
    return this.#exhaustedAt === this.#changes;
  }

  /** The last user of a blob is gone and its files are closed. */
  async released(name: string): Promise<void> {
    try {
      if (this.#doomed.size > 0) await this.#removeDoomed([name]);
    } catch (error) {
      log.warn("blob not removed from the cache", { blob: name, reason: messageOf(error) });
    }
    await this.trim();
  }

  /** Evicts what exceeds the limits, even if the last attempt found nothing to evict. Never rejects. */
  async trim(): Promise<void> {
    this.#changes++;
    await this.#make(0);
  }

  /**
   * The blobs of these owners are no longer wanted: removes them, those in use once they are released, or else by the
   * next server, which finds them among the {@link discardedBefore}.
   */
  async discard(owners: readonly string[]): Promise<void> {
    this.#doomed.add(owners);
    await this.#removeDoomed(owners);
    this.#changes++;
  }

  /**
   * Removes the files of these blobs that only unwanted owners have, except those in use, and forgets the owners without
   * any files left. A blob in use may still create files, under any description.
   */
  async #removeDoomed(namesOrOwners: readonly string[]): Promise<void> {
    const { path } = this.folder;
    const inUse = new Set([...this.users.namesInUse()].map(idOf));
    for (const id of new Set(namesOrOwners.map(idOf))) {
      const names = this.namesOf(id).filter((name) => hasFiles(blobPaths(path, name)));
      const gone = await this.#evict(names.filter((name) => this.#doomed.has(ownerIn(path, name))));
      if (!inUse.has(id) && gone.size === names.length) {
        this.#doomed.delete(this.#doomed.list().filter((owner) => idOf(owner) === id));
      }
    }
    await this.#doomed.save();
  }

  /** Owners that an earlier server has discarded without removing all of their blobs. They may be wanted again. */
  get discardedBefore(): string[] {
    return this.#doomed.listEarlier();
  }

  /** The blobs of these owners are wanted, from now on; resolves when that is on disk. Never rejects. */
  async keep(owners: readonly string[]): Promise<void> {
    this.#doomed.delete(owners);
    try {
      await this.#doomed.save();
    } catch (error) {
      log.warn("list of unwanted blobs not written", { dir: this.folder.path, reason: messageOf(error) });
    }
  }

  /** Frees left-over files, unwanted blobs, and what exceeds the limits. @throws {NydusGdError} "io" */
  async collect({ dryRun, isWanted, isInUse, isIdle }: CollectOptions): Promise<Collected> {
    const inventory = await takeInventory(this.folder.path);
    const { blobs } = inventory;
    const isHeld = (name: string) => this.users.isInUse(name) && !(dryRun && isIdle?.(name));
    const owned = new Map(blobs.map(({ name, owner }) => [name, owner]));
    const isFree = ({ name }: Pick<StoredBlob, "name">) => !isHeld(name) && !isInUse?.(owned.get(name) ?? name);
    const leftOvers = inventory.leftOvers.filter(isFree); // left-over files of a blob in use may be being written
    let unwanted = blobs.filter((blob) => isFree(blob) && !isWanted(blob.owner));
    const freed = bytesOf(unwanted) + bytesOf(leftOvers);
    const rest = blobs.filter((blob) => !unwanted.includes(blob));
    let evicted = this.#victims(rest, freed, 0, isFree);
    if (!dryRun) {
      const gone = await this.#evict([...unwanted, ...evicted].map(({ name }) => name));
      unwanted = unwanted.filter(({ name }) => gone.has(name));
      evicted = evicted.filter(({ name }) => gone.has(name));
      for (const { path } of leftOvers) await ignore(Deno.errors.NotFound, Deno.remove(path));
    }
    const keptBytes = bytesOf(blobs) - bytesOf(unwanted) - bytesOf(evicted);
    if (!dryRun) {
      this.#usedBytes = keptBytes;
      this.#changes++;
    }
    return { unwanted, evicted, leftOvers, keptBytes };
  }

  /** Makes room for pending writes and `moreBytes` more, if needed and if anything is evictable. */
  async #make(moreBytes: number): Promise<void> {
    const isDone = () => this.isExhausted || this.#fits(moreBytes);
    try {
      if (!isDone()) await this.#passes.run("pass", async () => isDone() ? undefined : await this.#pass(moreBytes));
    } catch (error) {
      // serving data comes first: a write without room reports its own error
      this.#exhaustedAt = this.#changes;
      log.warn("cannot make room in the cache", { dir: this.folder.path, reason: messageOf(error) });
    }
  }

  async #pass(moreBytes: number): Promise<void> {
    const changes = this.#changes, writtenBefore = this.#writtenBytes;
    const { blobs } = await takeInventory(this.folder.path);
    const unseenBytes = this.#writtenBytes - writtenBefore; // may count some twice: too high is safer than too low
    this.#usedBytes = bytesOf(blobs) + unseenBytes;
    const isFree = ({ name }: StoredBlob) => !this.users.isInUse(name);
    const victims = this.#victims(blobs, 0, unseenBytes + this.#comingBytes + moreBytes, isFree);
    const gone = await this.#evict(victims.map(({ name }) => name));
    const freed = victims.filter(({ name }) => gone.has(name));
    this.#usedBytes -= bytesOf(freed);
    if (freed.length > 0) log.info("blobs evicted from the cache", { blobs: freed.length, bytes: bytesOf(freed) });
    if (this.#fits(moreBytes)) return;
    this.#exhaustedAt = changes; // blobs released meanwhile are handled by their own release
    log.warn("cache exceeds its limits, everything left is in use", { dir: this.folder.path });
    this.onFull();
  }

  /** Whether pending writes and `moreBytes` more are within the limits. */
  #fits(moreBytes: number): boolean {
    if (this.limits === undefined) return true;
    const more = this.#comingBytes + moreBytes;
    return this.#usedBytes !== undefined && excessBytes(this.#fill(this.#usedBytes), this.limits, more) === 0;
  }

  /** @param freed bytes about to be freed anyway */
  #victims(
    blobs: readonly StoredBlob[],
    freed: number,
    moreBytes: number,
    isFree: (blob: StoredBlob) => boolean,
  ): StoredBlob[] {
    if (this.limits === undefined) return [];
    const fill = this.#fill(bytesOf(blobs));
    const expected = { ...fill, freeBytes: fill.freeBytes + freed };
    return chooseVictims(blobs.filter(isFree), expected, this.limits, moreBytes);
  }

  #fill(usedBytes: number): Fill {
    return { usedBytes, ...fileSystemFill(this.folder.path) };
  }

  /** Evicts those of `names` that are not in use; returns them. */
  async #evict(names: readonly string[]): Promise<Set<string>> {
    const gone = new Set<string>();
    for (const name of names) {
      const paths = blobPaths(this.folder.path, name);
      if (await this.users.whileUnused(name, () => this.folder.removeBlob(paths))) gone.add(name);
    }
    return gone;
  }
}

function bytesOf(parts: readonly { readonly bytes: number }[]): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
