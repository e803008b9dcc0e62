/**
 * Which blobs of a cache are in use: those that images hold, and those whose files are being closed or removed.
 *
 * ```
 *        open, add                    drop, by the last holder
 * free ────────────► held by images ───────────────────────────► closing ──► free
 *  └──────────────── whileUnused: its files are removed ────────────┘
 * ```
 * Whoever opens a blob that is closing waits until it is free.
 *
 * @module
 */
import type { Blob } from "./blob.ts";
import type { BlobUsers } from "./cache/cache_space.ts";
import type { BlobStats, CachedBlob } from "./cached_blob.ts";

/** Totals over blobs that are or were held. */
export type BlobTotals = Pick<BlobStats, "bytesFetched" | "requests" | "failedRequests" | "corruptChunks">;

/** The blobs that are held, and totals. */
export interface HeldBlobsStats extends BlobTotals {
  readonly blobs: readonly BlobStats[];
}

/** A blob and its holders. */
interface Held {
  readonly shared: CachedBlob;
  readonly holders: Set<Blob>;
}

/** The blobs of one cache that are in use, by the name of their files. */
export class HeldBlobs implements BlobUsers {
  readonly #held = new Map<string, Held>();
  readonly #closing = new Map<string, Promise<unknown>>();
  #past: BlobTotals = { bytesFetched: 0, requests: 0, failedRequests: 0, corruptChunks: 0 };
  #isLeft = false;

  /** @param onFree called when a blob that was held is free */
  constructor(private readonly onFree: (name: string) => void) {}

  /**
   * Returns the held blob of a name, or a new one, which is held from now on.
   *
   * @param make gets a promise that resolves when the former user has closed the files
   */
  open(name: string, make: (before: Promise<unknown>) => CachedBlob): CachedBlob {
    const held = this.#held.get(name);
    if (held !== undefined) return held.shared;
    const shared = make(this.#closing.get(name) ?? Promise.resolve());
    this.#held.set(name, { shared, holders: new Set() });
    return shared;
  }

  /** Adds a holder to a held blob. */
  add({ name }: CachedBlob, holder: Blob): void {
    this.#held.get(name)?.holders.add(holder);
  }

  /**
   * Removes a holder; the last one closes the blob.
   *
   * @throws {NydusGdError} "io" when its last chunks cannot be recorded; it is closed nevertheless
   */
  async drop(shared: CachedBlob, holder: Blob): Promise<void> {
    const { name } = shared;
    const held = this.#held.get(name);
    if (held === undefined || !held.holders.delete(holder) || held.holders.size > 0) return;
    this.#held.delete(name);
    const closed = shared.close().finally(() => {
      this.#past = sum([this.#past, shared.stats()]);
    });
    try {
      await this.#closeWith(name, closed);
    } finally {
      if (!this.#isLeft) this.onFree(name);
    }
  }

  /** @inheritdoc */
  isInUse(name: string): boolean {
    return this.#held.has(name) || this.#closing.has(name);
  }

  /** @inheritdoc */
  namesInUse(): string[] {
    return [...this.#held.keys(), ...this.#closing.keys()];
  }

  /** @inheritdoc */
  async whileUnused(name: string, task: () => Promise<void>): Promise<boolean> {
    if (this.#isLeft || this.isInUse(name)) return false;
    await this.#closeWith(name, task());
    return true;
  }

  /** Has the next user of a blob wait for `task`. */
  async #closeWith(name: string, task: Promise<unknown>): Promise<void> {
    const settled = Promise.allSettled([task]); // the caller gets the failure
    this.#closing.set(name, settled);
    try {
      await task;
    } finally {
      if (this.#closing.get(name) === settled) this.#closing.delete(name);
    }
  }

  /** Leaves the blobs to a successor: none counts as unused or becomes free from now on. */
  leave(): void {
    this.#isLeft = true;
  }

  /** Records everything that is ready on disk. */
  async flush(): Promise<void> {
    await Promise.all(Array.from(this.#held.values(), ({ shared }) => shared.flush()));
  }

  /** All holders of all blobs. */
  holders(): Blob[] {
    return [...this.#held.values()].flatMap(({ holders }) => [...holders]);
  }

  /** Resolves when nothing of what is now being closed or removed is any more. */
  async closed(): Promise<void> {
    await Promise.all(this.#closing.values());
  }

  stats(): HeldBlobsStats {
    const blobs = Array.from(this.#held.values(), ({ shared }) => shared.stats());
    return { blobs, ...sum([this.#past, ...blobs]) };
  }
}

function sum(parts: readonly BlobTotals[]): BlobTotals {
  const total = { bytesFetched: 0, requests: 0, failedRequests: 0, corruptChunks: 0 };
  for (const part of parts) {
    total.bytesFetched += part.bytesFetched;
    total.requests += part.requests;
    total.failedRequests += part.failedRequests;
    total.corruptChunks += part.corruptChunks;
  }
  return total;
}
