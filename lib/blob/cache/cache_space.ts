/**
 * Keeps a cache within its limits, and frees what nobody wants.
 *
 * ```
 * a chunk is to be written ──► room(bytes) ── fits ─────────────────────► written
 *                                  └────────── does not ──► the oldest blobs that are not in use go ──► written
 * ```
 * A blob in use never goes, nor does a write wait for room that cannot be made: then the disk itself is the limit. What
 * is used last is known by the time of a blob's files (cache_inventory.ts), which outlives the process.
 *
 * A blob goes whole: first what vouches for its chunks, durably, then its data. Whoever is killed in between leaves data
 * that nobody believes.
 *
 * @module
 */
import { ignore, messageOf } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { logger } from "../../base/log.ts";
import { idOf } from "./blob_names.ts";
import { blobPaths, type CacheFolder } from "./cache_files.ts";
import { type LeftOver, ownerIn, type StoredBlob, takeInventory } from "./cache_inventory.ts";
import { type CacheLimits, chooseVictims, excessBytes, type Fill } from "./cache_limits.ts";
import { fileSystemFill } from "./cache_usage.ts";

const log = logger("blob");

/** Room for what is recorded of the chunks that are written: digests and bits, less than one part in a hundred of 4 MiB. */
const RECORD_BYTES = 64 * 1024;

/** {@link CacheSpace.room}. */
export type WithRoom = CacheSpace["room"];

/** Who uses the blobs of a cache. */
export interface BlobUsers {
  isInUse(name: string): boolean;
  /** Names of all blobs that are in use. */
  namesInUse(): Iterable<string>;
  /** Runs `task` while nobody can begin to use the blob; false, and nothing is run, where somebody uses it. */
  whileUnused(name: string, task: () => Promise<void>): Promise<boolean>;
  /** All that could be evicted is gone, and it is not enough: what is held in case it is wanted is to be given back. */
  letGo(): void;
}

/** What is to be freed beside what exceeds the limits. */
export interface CollectOptions {
  /** Nothing is removed. */
  readonly dryRun: boolean;
  /** Whether anybody may want the blobs of an owner again. */
  readonly isWanted: (owner: string) => boolean;
  /** Whether somebody else uses blobs of an owner: a process that left the cache with its images mounted. */
  readonly isInUse?: (owner: string) => boolean;
  /** Whether the blob of that name is held, and would be given back before anything is removed. For a dry run. */
  readonly isIdle?: (name: string) => boolean;
}

/** What was freed, or would be. */
export interface Collected {
  /** Nobody wanted them. */
  readonly unwanted: readonly StoredBlob[];
  /** The oldest of those that did not fit. */
  readonly evicted: readonly StoredBlob[];
  readonly leftOvers: readonly LeftOver[];
  /** Bytes that are left in the cache. */
  readonly keptBytes: number;
}

/** See the module. */
export class CacheSpace {
  readonly #passes = new KeyedMutex<"pass">();
  /** Bytes in the cache by the last look, and what was written since; undefined before the first look. */
  #usedBytes: number | undefined;
  /** Bytes that are being written, or are to be as soon as there is room. */
  #comingBytes = 0;
  /** Bytes that were written, ever. */
  #writtenBytes = 0;
  /** Counts what may have made something evictable: a blob was given back, or its owner is gone. */
  #changes = 0;
  /** {@link #changes} when it was last tried in vain to evict something. */
  #exhaustedAt: number | undefined;
  /** Owners whose blobs nobody wants, as long as some are in use or in the folder. */
  readonly #doomed = new Set<string>();

  /** @param limits undefined: there are none */
  constructor(
    private readonly folder: CacheFolder,
    private readonly limits: CacheLimits | undefined,
    private readonly users: BlobUsers,
  ) {}

  /**
   * Makes room for so many bytes where there is none and some can be made, and runs what writes them.
   *
   * @returns what `write` returns; throws what it throws, and nothing else
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

  /** The last user of a blob is gone, and its files are closed. */
  async released(name: string): Promise<void> {
    try {
      if (this.#doomed.size > 0) {
        if (this.#doomed.has(ownerIn(this.folder.path, name))) await this.#evict([name]);
        this.#forgetAllBut((await takeInventory(this.folder.path)).blobs);
      }
    } catch (error) {
      log.warn("blob not removed from the cache", { blob: name, reason: messageOf(error) });
    }
    await this.trim();
  }

  /** Evicts what exceeds the limits, also where that was tried in vain. It never rejects. */
  async trim(): Promise<void> {
    this.#changes++;
    await this.#make(0);
  }

  /** Nobody wants the blobs of these owners any more: they go, those in use when they are given back. */
  async discard(owners: readonly string[]): Promise<void> {
    for (const owner of owners) this.#doomed.add(owner);
    const { blobs } = await takeInventory(this.folder.path);
    const gone = await this.#evict(blobs.filter(({ owner }) => this.#doomed.has(owner)).map(({ name }) => name));
    this.#forgetAllBut(blobs.filter(({ name }) => !gone.has(name)));
    this.#changes++;
  }

  /** Forgets owners of whose blob nothing is left. What is in use may get files yet, in one description or another. */
  #forgetAllBut(blobs: readonly StoredBlob[]): void {
    const left = new Set([...blobs.map(({ name }) => name), ...this.users.namesInUse()].map(idOf));
    for (const owner of this.#doomed) if (!left.has(idOf(owner))) this.#doomed.delete(owner);
  }

  /** Somebody wants blobs of these owners after all. */
  keep(owners: readonly string[]): void {
    for (const owner of owners) this.#doomed.delete(owner);
  }

  /** Frees what is left over, what nobody wants, and what exceeds the limits. @throws {NydusGdError} "io" */
  async collect({ dryRun, isWanted, isInUse, isIdle }: CollectOptions): Promise<Collected> {
    const inventory = await takeInventory(this.folder.path);
    const { blobs } = inventory;
    const isHeld = (name: string) => this.users.isInUse(name) && !(dryRun && isIdle?.(name));
    const owned = new Map(blobs.map(({ name, owner }) => [name, owner]));
    const isFree = ({ name }: Pick<StoredBlob, "name">) => !isHeld(name) && !isInUse?.(owned.get(name) ?? name);
    const leftOvers = inventory.leftOvers.filter(isFree); // of a blob in use it may be being written now
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

  /** Makes room for what is coming and so many bytes, where there is none and there is something to evict. */
  async #make(moreBytes: number): Promise<void> {
    const isDone = () => this.#exhaustedAt === this.#changes || this.#fits(moreBytes);
    try {
      if (!isDone()) await this.#passes.run("pass", async () => isDone() ? undefined : await this.#pass(moreBytes));
    } catch (error) {
      // what the cache is for comes first: a write that has no room says so itself
      this.#exhaustedAt = this.#changes;
      log.warn("no room made in the cache", { dir: this.folder.path, reason: messageOf(error) });
    }
  }

  async #pass(moreBytes: number): Promise<void> {
    const changes = this.#changes, writtenBefore = this.#writtenBytes;
    const { blobs } = await takeInventory(this.folder.path);
    const unseenBytes = this.#writtenBytes - writtenBefore; // some may have been seen: better too much than too little
    this.#usedBytes = bytesOf(blobs) + unseenBytes;
    const isFree = ({ name }: StoredBlob) => !this.users.isInUse(name);
    const victims = this.#victims(blobs, 0, unseenBytes + this.#comingBytes + moreBytes, isFree);
    const gone = await this.#evict(victims.map(({ name }) => name));
    const freed = victims.filter(({ name }) => gone.has(name));
    this.#usedBytes -= bytesOf(freed);
    if (freed.length > 0) log.info("blobs evicted from the cache", { blobs: freed.length, bytes: bytesOf(freed) });
    if (this.#fits(moreBytes)) return;
    this.#exhaustedAt = changes; // what was given back meanwhile is looked at by who gave it back
    log.warn("cache exceeds its limits, all that is left is in use", { dir: this.folder.path });
    this.users.letGo();
  }

  /** Whether what is coming and so many bytes are within the limits. */
  #fits(moreBytes: number): boolean {
    if (this.limits === undefined) return true;
    const more = this.#comingBytes + moreBytes;
    return this.#usedBytes !== undefined && excessBytes(this.#fill(this.#usedBytes), this.limits, more) === 0;
  }

  /** @param freed bytes that are about to go anyway */
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

  /** Those of `names` that nobody used. */
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
