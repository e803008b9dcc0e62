/**
 * An in-memory blob source that serves, fails, stalls, or returns wrong or truncated data, as a test directs.
 *
 * @module
 */
import type { BlobSource, ReadOptions, ReadProgress } from "../../../lib/backend/blob_source.ts";
import { interruption } from "../../../lib/base/abort.ts";
import type { Priority } from "../../../lib/base/limiter.ts";

/** A requested read. */
export interface SeenRead {
  readonly offset: number;
  readonly length: number;
  readonly priority: Priority;
}

/**
 * Decides the outcome of a read: undefined serves it, an error fails it, bytes are returned instead, a promise is
 * awaited first.
 *
 * @param grow reports progress to the caller
 */
export type Script = (
  read: SeenRead,
  bytes: Uint8Array<ArrayBuffer>,
  grow: ReadProgress,
) => undefined | Error | Uint8Array<ArrayBuffer> | Promise<undefined | Error | Uint8Array<ArrayBuffer>>;

/** A {@link BlobSource} over bytes. */
export class ScriptedSource implements BlobSource {
  readonly reads: SeenRead[] = [];
  /** Number of reads aborted by their caller. */
  aborted = 0;
  script: Script = () => undefined;

  constructor(readonly bytes: Uint8Array<ArrayBuffer>, readonly description = "scripted source") {}

  async read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array<ArrayBuffer>> {
    const seen = { offset, length, priority: options.priority };
    this.reads.push(seen);
    const bytes = this.bytes.slice(offset, offset + length);
    const grow: ReadProgress = (bytes, filled) => options.onProgress?.(bytes, filled);
    const outcome = await this.#unlessAborted(Promise.resolve(this.script(seen, bytes, grow)), options.signal);
    if (outcome instanceof Error) throw outcome;
    return outcome ?? bytes;
  }

  size(): Promise<number> {
    return Promise.resolve(this.bytes.length);
  }

  /** Total bytes of all reads. */
  get bytesRead(): number {
    return this.reads.reduce((sum, read) => sum + read.length, 0);
  }

  async #unlessAborted<T>(outcome: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal === undefined) return await outcome;
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => {
      this.aborted++;
      reject(interruption(signal));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([outcome, promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

/** A script that holds reads until it is opened. */
export class Gate {
  readonly #open = Promise.withResolvers<void>();
  readonly #arrived: (() => void)[] = [];
  #count = 0;
  /** @param holds which reads to hold; default: all */
  constructor(private readonly holds: (read: SeenRead) => boolean = () => true) {}

  readonly script: Script = async (read) => {
    if (!this.holds(read)) return undefined;
    this.#count++;
    for (const check of this.#arrived.splice(0)) check();
    await this.#open.promise;
    return undefined;
  };

  open(): void {
    this.#open.resolve();
  }

  /** Resolves when `count` reads have arrived. */
  async arrived(count: number): Promise<void> {
    while (this.#count < count) await new Promise<void>((resolve) => this.#arrived.push(resolve));
  }
}
