/**
 * Answers fanotify events of all watched files: hits in a Worker, misses in the main thread, after fetching.
 *
 * ```
 * reader ─► EROFS ─► device file ─► event ─► Worker ── chunks are cached ─► allow
 *                                              └── a miss ─► WatchedDevice.fetch ─► allow, or EIO
 * ```
 * A file whose chunks are all on disk loses its mark: from then on the kernel reads it without asking.
 *
 * @module
 */
import { ERRNO } from "../../../ffi/errno.ts";
import { markFile, respond, unmarkFile, watchedInodes } from "../../../ffi/fanotify.ts";
import { Fd } from "../../../ffi/fd.ts";
import { eventfd, raise } from "../../../ffi/poll.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { startWorker, workerUrl } from "../../base/worker.ts";
import { storeOf } from "../reads/missing_data.ts";
import { Poster } from "../reads/posted.ts";
import { ReadServer } from "../reads/read_server.ts";
import type { EventFile, FileKey, LeftEvent } from "./event_file.ts";
import { HeldPages } from "./held_pages.ts";
import { mayRead } from "../reads/device_use.ts";
import {
  type FromWatcher,
  keyOf,
  type ToWatcher,
  WATCH_COUNTER,
  type WatchMiss,
  type WatchStart,
} from "./watch_messages.ts";
import type { WatchedDevice } from "./watched_device.ts";

const log = logger("mount", "fanotify");

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
  readonly #poster = new Poster<ToWatcher>();
  readonly #counters = new Float64Array(new SharedArrayBuffer(WATCH_COUNTER.LENGTH * 8));
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  /** Inodes of files that a predecessor had marked for images that are not known here. */
  #foreign: ReadonlySet<bigint> = new Set();
  /** Started early: its start takes longer than everything else before {@link serve}. */
  readonly #worker: Worker = startWorker(workerUrl(import.meta, "watch_worker.ts"), "fanotify");
  readonly #held = new HeldPages();
  #isServing = false;
  #misses = 0;

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
    this.#worker.onmessage = ({ data }: MessageEvent<FromWatcher>) => this.#onMessage(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#onMessage({ kind: "ended", message: event.message });
    };
    const { address, freed } = this.events.records;
    const messages = this.#poster.far;
    const descriptors = { group: this.group.raw, stop: this.#stop.raw };
    const start: WatchStart = { ...descriptors, records: address, freed, messages, counters: this.#counters };
    this.#isServing = true;
    this.#worker.postMessage(start, [messages.port]);
    await this.#ready.promise;
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
    this.#poster.send({ kind: "drop", file: device.file });
  }

  /** Whether the kernel asks before it reads the file. */
  isWatched(file: FileKey): boolean {
    return this.#files.get(keyOf(file))?.marked ?? this.#isForeign(file);
  }

  /** Whether images that are not known here may read the file. */
  #isForeign({ ino }: FileKey): boolean {
    return this.#foreign.has(BigInt(ino));
  }

  /** Counts of events: all, those allowed at once, those that had to wait, and those that did not get here. */
  counters(): Record<"events" | "hits" | "misses" | "denied", number> {
    const cell = (index: number) => this.#counters[index] ?? 0;
    const { events, hits, denied } = WATCH_COUNTER;
    return { events: cell(events), hits: cell(hits), misses: this.#misses, denied: cell(denied) };
  }

  protected override async stopTaking(): Promise<void> {
    raise(this.#stop);
    if (this.#isServing) await this.#ended.promise;
  }

  protected override close(): void {
    this.#worker.terminate();
    this.#held[Symbol.dispose]();
    this.#poster.close();
    this.#stop[Symbol.dispose]();
  }

  #tell({ file, devices }: WatchedFile): void {
    const uses = Array.from(devices.keys(), ({ table, blob }) => ({ table, blob }));
    this.#poster.send({ kind: "file", file, uses });
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
        this.#ready.resolve();
        break;
      case "miss":
        this.#answerMiss(message);
        break;
      case "denied":
        log.error("reads fail, as the kernel cannot ask about them", { cause: message.reason });
        break;
      case "ended":
        if (message.message !== undefined) log.error("fanotify thread ended", { cause: message.message });
        this.#ready.reject(new NydusGdError("internal", `Cannot watch files: ${message.message ?? "thread ended"}`));
        this.#ended.resolve();
    }
  }

  #answerMiss({ slot, fd, file, offset, count }: WatchMiss): void {
    this.#misses++;
    const answered = (errno: number) => {
      respond(this.group, fd, errno);
      this.events.records.release(slot);
      Fd.own(fd)[Symbol.dispose]();
    };
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
