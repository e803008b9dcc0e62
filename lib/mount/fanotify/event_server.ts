/**
 * Answers fanotify events of all watched files: hits in a Worker, misses in the main thread, after fetching.
 *
 * ```
 * reader ─► EROFS ─► device file ─► event ─► Worker ── chunks are cached ─► allow
 *                                              └── a miss ─► WatchedDevice.fetch ─► allow, or EIO
 * ```
 * A Worker that fails is replaced; what it had read and not answered is answered here.
 *
 * A file whose chunks are all on disk loses its mark: from then on the kernel reads it without asking.
 *
 * @module
 */
import { ERRNO } from "../../../ffi/errno.ts";
import { markFile, respond, unmarkFile, watchedInodes } from "../../../ffi/fanotify.ts";
import { Fd } from "../../../ffi/fd.ts";
import { eventfd, raise } from "../../../ffi/poll.ts";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { storeOf } from "../reads/missing_data.ts";
import { ReadServer } from "../reads/read_server.ts";
import { type EventFile, type FileKey, fileOf, type LeftEvent } from "./event_file.ts";
import { HeldPages } from "./held_pages.ts";
import { mayRead } from "../reads/device_use.ts";
import { type FromWatcher, keyOf, type ToWatcher, WATCH_COUNTER, type WatchMiss } from "./watch_messages.ts";
import { WatchThread } from "./watch_thread.ts";
import type { WatchedDevice } from "./watched_device.ts";

const log = logger("mount", "fanotify");

/** Threads are started at most so often: one that fails at once would keep the processor busy. */
const RESTART_MS = 1000;

/** A file that is or was watched. */
interface WatchedFile {
  readonly file: FileKey;
  readonly devices: Map<WatchedDevice, PromiseWithResolvers<void>>;
  marked: boolean;
}

/** Answers the events of one fanotify group. */
export class EventServer extends ReadServer {
  readonly #files = new Map<string, WatchedFile>();
  readonly #stop: Fd = eventfd();
  readonly #counters = new Float64Array(new SharedArrayBuffer(WATCH_COUNTER.LENGTH * 8));
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  /** Inodes of files that a predecessor had marked for images that are not known here. */
  #foreign: ReadonlySet<bigint> = new Set();
  /** Started early: its start takes longer than everything else before {@link serve}. */
  #thread = new WatchThread();
  readonly #held = new HeldPages();
  /** Numbers of the records whose events are being answered here. */
  readonly #answering = new Set<number>();
  #state: "idle" | "starting" | "serving" | "stopping" = "idle";
  /** When the last thread was started, milliseconds of performance.now(). */
  #startedMs = -Infinity;
  #misses = 0;
  #failures = 0;

  /**
   * @param group and `events` are owned by the caller
   * @throws {NydusGdError} "environment" when the process is out of descriptors
   */
  constructor(private readonly group: Fd, private readonly events: EventFile, deadlineMs: number) {
    super(log, deadlineMs);
    this.#ready.promise.catch(() => undefined); // reported to the caller of serve()
  }

  /**
   * Answers the events that a predecessor left unanswered, then new ones.
   *
   * In this order, because a new event gets the next free descriptor, whose number may also identify an event that was
   * left.
   */
  async serve(): Promise<void> {
    const known = new Set(Array.from(this.#files.values(), ({ file }) => BigInt(file.ino)));
    this.#foreign = new Set(watchedInodes(this.group).filter((ino) => !known.has(ino)));
    for (const left of this.events.records.left()) this.#answerLeft(left);
    await this.readsSettled();
    this.events.records.clearInbox();
    this.#state = "starting";
    this.#startServing();
    await this.#ready.promise;
  }

  #startServing(): void {
    const { address, freed } = this.events.records;
    const descriptors = { group: this.group.raw, stop: this.#stop.raw };
    const start = { ...descriptors, records: address, freed, counters: this.#counters };
    this.#startedMs = performance.now();
    this.#thread.serve(start, (message) => this.#onMessage(message));
  }

  /**
   * Marks the device's file and answers its events from now on. Must be called before the kernel opens the file.
   *
   * @returns `settled` resolves when the kernel no longer needs to ask
   * @throws {SyscallError} when the file cannot be watched
   */
  watch(device: WatchedDevice): { readonly settled: Promise<void> } {
    const key = keyOf(device.file);
    const watched = this.#files.get(key) ?? { file: device.file, devices: new Map(), marked: false };
    this.#files.set(key, watched);
    const settled = Promise.withResolvers<void>();
    watched.devices.set(device, settled);
    this.#tell(watched);
    markFile(this.group, device.fd);
    watched.marked = true;
    device.onStored(() => this.#settle(watched));
    this.#settle(watched); // an earlier process may have completed it
    return { settled: settled.promise };
  }

  /** Stops watching for a device that can no longer be read. */
  forget(device: WatchedDevice): void {
    const watched = this.#files.get(keyOf(device.file));
    if (!watched?.devices.delete(device)) return;
    this.forgetFailures(device.known);
    if (watched.devices.size > 0) return this.#tell(watched);
    if (watched.marked && !this.#isForeign(watched.file)) unmarkFile(this.group, device.fd);
    watched.marked = false;
    this.#files.delete(keyOf(device.file));
    this.#thread.send({ kind: "drop", file: device.file });
  }

  /** Whether the kernel asks before it reads the file. */
  isWatched(file: FileKey): boolean {
    return this.#files.get(keyOf(file))?.marked ?? this.#isForeign(file);
  }

  /** Whether images that are not known here may read the file. */
  #isForeign({ ino }: FileKey): boolean {
    return this.#foreign.has(BigInt(ino));
  }

  /**
   * Counts of events: all, those allowed at once, those that had to wait, and those that did not get here; and of
   * threads that failed.
   */
  counters(): Record<"events" | "hits" | "misses" | "denied" | "threadFailures", number> {
    const cell = (index: number) => this.#counters[index] ?? 0;
    const { events, hits, denied } = WATCH_COUNTER;
    const [misses, threadFailures] = [this.#misses, this.#failures];
    return { events: cell(events), hits: cell(hits), misses, denied: cell(denied), threadFailures };
  }

  protected override async stopTaking(): Promise<void> {
    raise(this.#stop);
    const isIdle = this.#state === "idle";
    this.#state = "stopping";
    if (!isIdle) await this.#ended.promise;
  }

  protected override close(): void {
    this.#thread[Symbol.dispose]();
    this.#held[Symbol.dispose]();
    this.#stop[Symbol.dispose]();
  }

  #tell({ file, devices }: WatchedFile): void {
    const uses = Array.from(devices.keys(), ({ table, blob }) => ({ table, blob }));
    this.#thread.send({ kind: "file", file, uses } satisfies ToWatcher);
  }

  /** Unmarks a file once all of it is durably stored. */
  #settle(watched: WatchedFile): void {
    if (!watched.marked) return;
    try {
      for (const device of watched.devices.keys()) if (!device.settle()) return;
      const [device] = watched.devices.keys();
      if (device === undefined || this.#isForeign(watched.file)) return;
      unmarkFile(this.group, device.fd);
      watched.marked = false;
      log.debug("device is complete", { path: device.path });
    } catch (error) {
      return log.warn("device stays watched", { file: keyOf(watched.file), error: messageOf(error) });
    }
    for (const settled of watched.devices.values()) settled.resolve();
  }

  #onMessage(message: FromWatcher): void {
    switch (message.kind) {
      case "ready":
        if (this.#state === "starting") this.#state = "serving";
        this.#ready.resolve();
        break;
      case "miss":
        this.#answerMiss(message);
        break;
      case "denied":
        log.error("reads fail, as the kernel cannot ask about them", { cause: message.reason });
        break;
      case "ended":
        this.#onEnd(message.message ?? "it ended unasked");
    }
  }

  #onEnd(cause: string): void {
    if (this.#state === "serving") return this.#onFailure(cause);
    this.#ready.reject(new NydusGdError("internal", `Cannot watch files: ${cause}`));
    this.#ended.resolve();
  }

  #onFailure(cause: string): void {
    this.#failures++;
    log.error("a thread that answers the kernel failed, another takes its place", { cause });
    this.#thread[Symbol.dispose]();
    this.#answerAbandoned();
    this.#replaceThread();
  }

  /** Answers what the thread had read and neither answered nor handed over. */
  #answerAbandoned(): void {
    const { records } = this.events;
    for (const { slot, fd, offset, count, file = fileOf(fd) } of records.left()) {
      if (slot !== undefined && this.#answering.has(slot)) continue;
      const record = slot ?? records.parkAtOnce(fd, offset, count, file);
      if (record !== undefined) this.#answerMiss({ kind: "miss", slot: record, fd, file, offset, count });
      else this.#finish(fd, ERRNO.EIO);
    }
    records.clearInbox();
  }

  /** Starts another thread, however often it takes. Never rejects. */
  async #replaceThread(): Promise<void> {
    await delay(Math.max(0, this.#startedMs + RESTART_MS - performance.now()));
    if (this.#state === "stopping") return this.#ended.resolve();
    try {
      this.#thread = new WatchThread();
    } catch (error) {
      this.#startedMs = performance.now();
      log.error("no thread answers the kernel, programs that read wait", { error: messageOf(error) });
      return await this.#replaceThread();
    }
    for (const watched of this.#files.values()) this.#tell(watched);
    this.#startServing();
  }

  /** Answers an event of this process. */
  #finish(fd: number, errno: number, release: () => void = () => {}): void {
    respond(this.group, fd, errno);
    release();
    Fd.own(fd)[Symbol.dispose]();
  }

  #answerMiss({ slot, fd, file, offset, count }: WatchMiss): void {
    this.#misses++;
    this.#answering.add(slot);
    const release = () => {
      this.#answering.delete(slot);
      this.events.records.release(slot);
    };
    const answered = (errno: number) => this.#finish(fd, errno, release);
    this.#fetch({ fd, file, offset, count }, answered);
  }

  /** Answers an event of a dead process, whose descriptor is gone, too. */
  #answerLeft(left: LeftEvent & { readonly slot?: number }): void {
    this.#fetch(left, (errno) => {
      respond(this.group, left.fd, errno);
      if (left.slot !== undefined) this.events.records.release(left.slot);
    });
  }

  #fetch({ file, offset, count }: LeftEvent, answered: (errno: number) => void): void {
    this.startRead(
      async (signal) => {
        await (file === undefined
          ? this.#fetchAnywhere(offset, count, signal)
          : this.#fetchOf(this.#files.get(keyOf(file)), offset, count, signal));
        answered(0);
      },
      () => answered(ERRNO.EIO),
    );
  }

  async #fetchOf(watched: WatchedFile | undefined, offset: number, count: number, signal: AbortSignal): Promise<void> {
    await this.#fetchForAll(watched, offset, count, signal);
    for (const { table } of watched?.devices.keys() ?? []) if (mayRead(table, offset, count)) return;
    throw new NydusGdError("not-found", "Cannot read device: no image has it");
  }

  /** Handles an event that a predecessor had not examined: it may concern any file. */
  async #fetchAnywhere(offset: number, count: number, signal: AbortSignal): Promise<void> {
    if (this.#foreign.size > 0) throw new NydusGdError("not-found", "Cannot read device: its image is not known");
    await Promise.all(Array.from(this.#files.values(), (one) => this.#fetchForAll(one, offset, count, signal)));
  }

  /** Fetches what every image needs of a range of a file, since the event does not tell which image is being read. */
  async #fetchForAll(
    watched: WatchedFile | undefined,
    offset: number,
    count: number,
    signal: AbortSignal,
  ): Promise<void> {
    for (const device of watched?.devices.keys() ?? []) {
      const { known, table } = device;
      try {
        await device.fetch(offset, count, signal, this.#held);
        this.noteSuccess(known, storeOf(known, table.blobIndex).id);
      } catch (error) {
        this.noteFailure(known, offset, error);
        throw error;
      }
    }
  }
}
