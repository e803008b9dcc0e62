/**
 * The Worker that answers fanotify events: allows reads of cached data and passes the others to the main thread.
 *
 * It waits in poll(2) for events and for the signal to stop. Between two reads of the group it holds no events:
 * everything read is answered or recorded (event_file.ts).
 *
 * @module
 */
import { isErrno, SyscallError } from "../../../ffi/errno.ts";
import { decodeFanotifyEvents, type FanotifyEvent, respond } from "../../../ffi/fanotify.ts";
import { Fd } from "../../../ffi/fd.ts";
import { POLL, poll } from "../../../ffi/poll.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { read } from "../../../ffi/unistd.ts";
import { messageOf } from "../../base/errors.ts";
import { collectGarbage, REST_MS } from "../../base/garbage.ts";
import { deviceExtents } from "../../rafs/device_table.ts";
import { isPassable } from "../reads/cached_read.ts";
import type { OpenBlob } from "../image_mount.ts";
import { PostedMessages } from "../reads/posted.ts";
import { EventRecords, type FileKey } from "./event_file.ts";
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

/** Matches no file. */
const NO_FILE: FileKey = { dev: 0, ino: 0 };

class Watcher {
  readonly #records: EventRecords;
  readonly #messages: PostedMessages<ToWatcher>;
  readonly #files = new Map<string, readonly WatchedUse[]>();

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
      if (rested) collectGarbage();
      else this.#serveBatch();
    }
  }

  #serveBatch(): void {
    const { inbox } = this.#records;
    let length: number;
    try {
      length = read(this.start.group, inbox);
    } catch (error) {
      if (isErrno(error, "EBADF", "EFAULT", "EINVAL")) throw error; // a mistake of ours
      // the waiting process was killed meanwhile, or the kernel could not open the file for us, for any reason that its
      // file system has, and has denied the event: its reader got an error
      return;
    }
    for (const message of this.#messages.take()) this.#apply(message);
    for (const event of decodeFanotifyEvents(inbox.subarray(0, length))) if (event.fd >= 0) this.#answer(event);
    this.#records.clearInbox(length);
  }

  #answer({ fd, offset, count }: FanotifyEvent): void {
    this.#count(WATCH_COUNTER.events);
    const file = this.#fileOf(fd);
    if (this.#isReady(file, offset, count)) {
      respond(this.start.group, fd);
      Fd.own(fd)[Symbol.dispose]();
      this.#count(WATCH_COUNTER.hits);
      return;
    }
    const slot = this.#records.park(fd, offset, count, file);
    scope.postMessage({ kind: "miss", slot, fd, file, offset, count });
  }

  #fileOf(fd: number): FileKey {
    try {
      return fstat(fd);
    } catch (error) {
      if (error instanceof SyscallError) return NO_FILE; // a failing disk: the reader gets an error
      throw error;
    }
  }

  #isReady(file: FileKey, offset: number, count: number): boolean {
    const uses = this.#files.get(keyOf(file));
    if (uses === undefined) return false;
    let isKnown = false;
    for (const { table, blob } of uses) {
      const extents = deviceExtents(table, offset, count);
      const blobs: OpenBlob[] = [];
      blobs[table.blobIndex] = blob;
      if (!isPassable(extents, blobs)) return false;
      isKnown ||= areOfChunks(extents, count);
    }
    return isKnown;
  }

  #apply(message: ToWatcher): void {
    if (message.kind === "file") this.#files.set(keyOf(message.file), message.uses);
    else this.#files.delete(keyOf(message.file));
  }

  /** Written by this thread only; other threads read it. */
  #count(counter: number): void {
    const { counters } = this.start;
    counters[counter] = (counters[counter] ?? 0) + 1;
  }
}

scope.onmessage = ({ data }) => {
  try {
    const watcher = new Watcher(data);
    scope.postMessage({ kind: "ready" });
    watcher.serve();
    scope.postMessage({ kind: "ended" });
  } catch (error) {
    scope.postMessage({ kind: "ended", message: messageOf(error) });
  }
};
