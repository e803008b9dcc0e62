/**
 * Answers the kernel's requests for its cache: opens objects that are offered, fills what is read.
 *
 * ```
 * reader ─► EROFS ─► fscache ── not cached ─► READ ─► CachedObject.fill ─► complete, or EIO
 * ```
 * The kernel reads cached data by itself. Everything runs in the main thread: a message arrives only for data to be
 * fetched, which takes longer than the way to this thread.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  answerOpen,
  type CachefilesMessage,
  MESSAGE_MAX_BYTES,
  readMessage,
  refuseOpen,
  restore,
} from "../../../ffi/cachefiles.ts";
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import { Fd } from "../../../ffi/fd.ts";
import { POLL, pollNonblocking } from "../../../ffi/poll.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import { ReadServer } from "../reads/read_server.ts";
import { CachedObject } from "./cached_object.ts";
import type { Culler } from "./culler.ts";
import { FillBuffers } from "./fill_buffers.ts";
import type { ObjectSource } from "./object_source.ts";

const log = logger("mount", "fscache");

/** Milliseconds to wait when the device was readable but had no message. */
const IDLE_MS = 10;

/** Milliseconds until serving starts again after a failure: one that lasts would keep the processor busy. */
const RESTART_MS = 1000;

type OpenMessage = CachefilesMessage & { readonly kind: "open" };
type ReadMessage = CachefilesMessage & { readonly kind: "read" };

/** Answers the requests of one open /dev/cachefiles. */
export class CacheServer extends ReadServer {
  /** By volume and cookie. */
  readonly #sources = new Map<string, ObjectSource>();
  readonly #objects = new Map<number, CachedObject>();
  readonly #closing = new RunningTasks();
  /** Callers that wait until a source is closed. */
  readonly #leaving = new Map<ObjectSource, PromiseWithResolvers<void>>();
  readonly #buffers = new FillBuffers();
  readonly #stopping = new AbortController();
  readonly #counters = { messages: 0, reads: 0, failures: 0 };
  /** The reads that are being answered, as {@link #read} writes them. */
  readonly #answering = new Set<string>();
  #serving: Promise<void> = Promise.resolve();

  /** @param device owned by the caller */
  constructor(private readonly device: Fd, deadlineMs: number, private readonly culler?: Culler) {
    super(log, deadlineMs);
  }

  /** Returns the source offered under a name. */
  sourceOf(volume: string, cookie: string): ObjectSource | undefined {
    return this.#sources.get(keyOf(volume, cookie));
  }

  /** Offers a source: the kernel may open it from now on. */
  offer(volume: string, cookie: string, source: ObjectSource): void {
    this.#sources.set(keyOf(volume, cookie), source);
  }

  /** Withdraws an offer: the kernel cannot open it any more; open objects stay open. */
  withdraw(volume: string, cookie: string): void {
    const source = this.sourceOf(volume, cookie);
    this.#sources.delete(keyOf(volume, cookie));
    if (source?.known !== undefined) this.forgetFailures(source.known);
  }

  /** Resolves when the kernel has no object of the source open, or the server ends. */
  whenClosed(source: ObjectSource): Promise<void> {
    if (!this.#isOpen(source)) return Promise.resolve();
    const leaving = this.#leaving.get(source) ?? Promise.withResolvers<void>();
    this.#leaving.set(source, leaving);
    return leaving.promise;
  }

  #isOpen(source: ObjectSource): boolean {
    return this.#objects.values().some((object) => object.source === source);
  }

  /** Starts answering. */
  serve(): void {
    this.#serving = this.#serve();
  }

  /** Number of messages so far, and of reads among them; how often serving has failed. */
  counters(): { readonly messages: number; readonly reads: number; readonly failures: number } {
    return { ...this.#counters };
  }

  protected override async stopTaking(): Promise<void> {
    this.#stopping.abort();
    await this.#serving;
  }

  protected override async close(): Promise<void> {
    for (const object of this.#objects.values()) await object.close();
    this.#objects.clear();
    for (const { resolve } of this.#leaving.values()) resolve();
    await this.#closing.settled();
    await this.culler?.settled();
    this.#buffers[Symbol.dispose]();
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#serveMessages(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#counters.failures++;
        log.error("kernel's cache is not served for a moment", { error: messageOf(error) });
        await delay(RESTART_MS, undefined, { signal }).catch(() => {}); // a stop ends the loop
      }
    }
  }

  /** Begins with the messages that were taken and not answered, if serving has failed before. */
  async #serveMessages(signal: AbortSignal): Promise<never> {
    const buffer = new Uint8Array(MESSAGE_MAX_BYTES);
    if (this.#counters.failures > 0) restore(this.device);
    for (;;) {
      await pollNonblocking([{ fd: this.device, events: POLL.IN }], -1, signal);
      const hasCome = this.#take(buffer);
      while (this.#take(buffer));
      this.culler?.look();
      // older kernels report the device as readable while any message is unanswered
      if (!hasCome) await delay(IDLE_MS, undefined, { signal });
    }
  }

  /** Handles one message; false if there was none. */
  #take(buffer: Uint8Array): boolean {
    let message: CachefilesMessage | undefined;
    try {
      message = readMessage(this.device, buffer);
    } catch (error) {
      if (!isErrno(error, "EMFILE", "ENFILE", "ENOMEM")) throw error;
      log.error("file of the kernel's cache not opened", { error: error.message }); // its reader has got an error
      return true;
    }
    if (message === undefined) return false;
    this.#counters.messages++;
    if (message.kind === "open") this.#open(message);
    else if (message.kind === "read") this.#read(message);
    else this.#close(message.object);
    return true;
  }

  #open({ id, object, volume, cookie, fd }: OpenMessage): void {
    using cleanup = new DisposableStack();
    const own = cleanup.use(Fd.own(fd));
    const source = this.sourceOf(volume, cookie);
    if (source === undefined) {
      refuseOpen(this.device, id);
      return log.warn("kernel wants a file that no image has", { volume, cookie });
    }
    if (!answerOpen(this.device, id, source.sizeBytes)) return;
    cleanup.move();
    this.#objects.set(object, new CachedObject(own, source, this.#buffers));
    log.debug("kernel caches a file", { volume, cookie, object });
  }

  #close(id: number): void {
    const object = this.#objects.get(id);
    if (object === undefined) return;
    this.#objects.delete(id);
    this.#closing.add(object.close());
    if (this.#isOpen(object.source)) return;
    this.#leaving.get(object.source)?.resolve();
    this.#leaving.delete(object.source);
  }

  #read({ id, object, offset, length }: ReadMessage): void {
    const cached = this.#objects.get(object);
    if (cached === undefined) return log.warn("kernel reads a file that is not open", { object });
    const read = `${id} ${object} ${offset} ${length}`;
    if (this.#answering.has(read)) return; // the kernel repeats it, and one answer is enough
    this.#answering.add(read);
    this.#counters.reads++;
    const { known } = cached.source;
    const complete = () => {
      this.#answering.delete(read);
      cached.complete(id);
    };
    this.startRead(
      async (signal) => {
        await cached.fill({ offset, length }, signal);
        complete();
        if (known !== undefined) { for (const { id } of known.image.blobs) this.noteSuccess(known, id); }
      },
      (error) => {
        this.#tell(cached, offset, error);
        complete(); // unfilled, so the reader gets EIO
      },
    );
  }

  #tell({ source: { known } }: CachedObject, offset: number, error: unknown): void {
    if (known === undefined) return;
    const cause = error instanceof SyscallError
      ? new NydusGdError("io", `Cannot write the kernel's cache: ${error.code}`, { cause: error })
      : error;
    this.noteFailure(known, offset, cause);
  }
}

function keyOf(volume: string, cookie: string): string {
  return `${volume}\0${cookie}`;
}
