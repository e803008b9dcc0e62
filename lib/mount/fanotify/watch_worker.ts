/**
 * The Worker that answers fanotify events: allows reads of cached data and passes the others to the main thread.
 *
 * It waits in poll(2) for events and for the signal to stop. Between two reads of the group it holds no events:
 * everything read is answered or recorded (event_file.ts).
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { decodeFanotifyEvents, type FanotifyEvent, respond } from "../../../ffi/fanotify.ts";
import { Fd } from "../../../ffi/fd.ts";
import { POLL, poll } from "../../../ffi/poll.ts";
import { read } from "../../../ffi/unistd.ts";
import { messageOf } from "../../base/errors.ts";
import { collectGarbage, REST_MS } from "../../base/garbage.ts";
import { deviceExtents } from "../../rafs/erofs/device_table.ts";
import { areStored, isPassable, isReadable } from "../reads/cached_read.ts";
import type { OpenBlob } from "../image_mount.ts";
import { PostedMessages } from "../reads/posted.ts";
import { EventRecords, type FileKey, fileOf } from "./event_file.ts";
import { HeldPages } from "./held_pages.ts";
import { areOfChunks } from "../reads/device_use.ts";
import {
  type FromWatcher,
  keyOf,
  type ToWatcher,
  WATCH_COUNTER,
  type WatchedUse,
  type WatchStart,
} from "./watch_messages.ts";

const scope = self as unknown as {
  postMessage(message: FromWatcher): void;
  onmessage: ((event: MessageEvent<WatchStart>) => void) | null;
};

class Watcher implements Disposable {
  readonly #records: EventRecords;
  readonly #messages: PostedMessages<ToWatcher>;
  readonly #files = new Map<string, readonly WatchedUse[]>();
  readonly #held = new HeldPages();
  /** Reasons for denied reads that the main thread knows. */
  readonly #told = new Set<string>();

  constructor(private readonly start: WatchStart) {
    this.#records = new EventRecords(start.records, start.freed);
    this.#messages = new PostedMessages(start.messages);
  }

  serve(): void {
    const { group: fd, stop } = this.start;
    const awaited = [{ fd, events: POLL.IN }, { fd: stop, events: POLL.IN }];
    for (let rested = false;;) {
      const [group = 0, end = 0] = poll(awaited, rested ? -1 : REST_MS);
      if (end !== 0) return;
      rested = group === 0;
      if (rested) this.#rest();
      else this.#serveBatch();
    }
  }

  #rest(): void {
    this.#held.release();
    collectGarbage();
  }

  #serveBatch(): void {
    const { inbox } = this.#records;
    let length: number;
    try {
      length = read(this.start.group, inbox);
    } catch (error) {
      if (isErrno(error, "EBADF", "EFAULT", "EINVAL")) throw error; // a mistake of ours
      if (!isErrno(error, "EAGAIN", "EINTR")) this.#noteDenied(messageOf(error)); // EAGAIN: its reader was killed
      return;
    }
    for (const message of this.#messages.take()) this.#apply(message);
    for (const event of decodeFanotifyEvents(inbox.subarray(0, length))) if (event.fd >= 0) this.#answer(event);
    this.#records.clearInbox(length);
  }

  /** The kernel could not open the file for us, for any reason that its file system has, and has denied the read. */
  #noteDenied(reason: string): void {
    this.#count(WATCH_COUNTER.denied);
    if (this.#told.has(reason)) return;
    this.#told.add(reason);
    scope.postMessage({ kind: "denied", reason });
  }

  #answer(event: FanotifyEvent): void {
    const { fd, offset, count } = event;
    this.#count(WATCH_COUNTER.events);
    const file = fileOf(fd);
    if (this.#isReady(event, file)) {
      respond(this.start.group, fd);
      this.#records.take(event);
      Fd.own(fd)[Symbol.dispose]();
      this.#count(WATCH_COUNTER.hits);
      return;
    }
    const slot = this.#records.park(fd, offset, count, file);
    this.#records.take(event);
    scope.postMessage({ kind: "miss", slot, fd, file, offset, count });
  }

  #isReady({ fd, offset, count }: FanotifyEvent, file: FileKey): boolean {
    const uses = this.#files.get(keyOf(file));
    if (uses === undefined) return false;
    let isKnown = false;
    for (const { table, blob } of uses) {
      const extents = deviceExtents(table, offset, count);
      const blobs: OpenBlob[] = [];
      blobs[table.blobIndex] = blob;
      if (!extents.every((extent) => isReadable(extent, blobs))) return false;
      if (!areStored(extents, blobs)) this.#held.hold(fd, offset, count);
      if (!isPassable(extents, blobs)) return false;
      isKnown ||= areOfChunks(extents, count);
    }
    return isKnown;
  }

  #apply(message: ToWatcher): void {
    if (message.kind === "file") this.#files.set(keyOf(message.file), message.uses);
    else this.#files.delete(keyOf(message.file));
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }

  /** Written by this thread only; other threads read it. */
  #count(counter: number): void {
    const { counters } = this.start;
    counters[counter] = (counters[counter] ?? 0) + 1;
  }
}

scope.onmessage = ({ data }) => {
  try {
    using watcher = new Watcher(data);
    scope.postMessage({ kind: "ready" });
    watcher.serve();
    scope.postMessage({ kind: "ended" });
  } catch (error) {
    scope.postMessage({ kind: "ended", message: messageOf(error) });
  }
};
