/**
 * The file that holds fanotify events while they are being handled: in memory, and kept open by the keeper, too.
 *
 * ```
 * ┌───────────────────────────────┬────────────────────────────────────────────┐
 * │ inbox: result of last read(2) │ parked: events that wait for data          │
 * │ INBOX_SIZE                    │ PARKED_COUNT × { state, fd, offset, count, │
 * │                               │                  device, inode }           │
 * └───────────────────────────────┴────────────────────────────────────────────┘
 * ```
 * The kernel reports an event once, and the descriptor that identifies it dies with the process. So events are read
 * directly into the file (MAP_SHARED memory outlives its process), and a successor that takes over the group finds
 * every event that may be unanswered. An event is taken out of the inbox once it is answered or parked
 * (../reads/parking.ts), and a record is released when its event is answered, each before the event's descriptor is
 * closed, so that a number in the file never identifies another event.
 *
 * @module
 */
import { decodeFanotifyEvents, type FanotifyEvent, removeFanotifyEvent } from "../../../ffi/fanotify.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { type Mapping, memfdCreate, viewAt } from "../../../ffi/sys_mman.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { SyscallError } from "../../../ffi/errno.ts";
import { NydusGdError } from "../../base/errors.ts";
import { mapPinned, Parking } from "../reads/parking.ts";

const INBOX_SIZE = 4096;
/** Maximum events that wait for data at once. */
const PARKED_COUNT = 1024;
/** Byte offsets in a record, after its state. */
const RECORD = { SIZE: 64, fd: 4, offset: 8, count: 16, device: 24, inode: 32 } as const;
const FILE_SIZE = INBOX_SIZE + PARKED_COUNT * RECORD.SIZE;
/** State of a record in use. */
const PARKED = 1;

/** Identity of a file in the kernel. */
export interface FileKey {
  readonly dev: number;
  readonly ino: number | bigint;
}

/** Matches no file. */
const NO_FILE: FileKey = { dev: 0, ino: 0 };

/** The file of an event that this process has read. */
export function fileOf(fd: number): FileKey {
  try {
    return fstat(fd);
  } catch (error) {
    if (error instanceof SyscallError) return NO_FILE; // a failing disk: the reader gets an error
    throw error;
  }
}

/** An event that may be unanswered. */
export interface LeftEvent {
  readonly fd: number;
  readonly offset: number;
  readonly count: number;
  /** Undefined if the event was not examined yet: it may be any file. */
  readonly file: FileKey | undefined;
}

/** The whole file, held by the main thread. */
export class EventFile implements Disposable {
  private constructor(readonly fd: Fd, private readonly mapping: Mapping, readonly records: EventRecords) {}

  /** Creates an empty file. */
  static create(): EventFile {
    return EventFile.#map(memfdCreate("nydus-gd-events"));
  }

  /**
   * Opens the file left by a predecessor, with all events that may be unanswered.
   *
   * @param fd owned by the file from now on, even if this throws
   * @throws {NydusGdError} "unsupported" for a file with another layout
   */
  static reopen(fd: Fd): EventFile {
    if (fstat(fd).size === FILE_SIZE) return EventFile.#map(fd);
    fd[Symbol.dispose]();
    throw new NydusGdError("unsupported", "Cannot take over events: another version laid them out");
  }

  static #map(fd: Fd): EventFile {
    const mapping = mapPinned(fd, FILE_SIZE, [{ offset: 0, length: FILE_SIZE }]);
    return new EventFile(fd, mapping, new EventRecords(mapping.address, new Int32Array(new SharedArrayBuffer(4))));
  }

  /** Unmaps and closes. No Worker may use it any more. */
  [Symbol.dispose](): void {
    this.mapping[Symbol.dispose]();
    this.fd[Symbol.dispose]();
  }
}

/** Inbox and records, as seen by the Worker and by the main thread. */
export class EventRecords {
  readonly inbox: Uint8Array<ArrayBuffer>;
  readonly #parking: Parking;
  readonly #view: DataView;

  /**
   * @param address address of the mapped file
   * @param freed shared counter of released records, to wait on when none is free
   */
  constructor(readonly address: bigint, readonly freed: Int32Array<SharedArrayBuffer>) {
    const bytes = viewAt(address, FILE_SIZE);
    this.inbox = bytes.subarray(0, INBOX_SIZE);
    this.#parking = new Parking(bytes.subarray(INBOX_SIZE), RECORD.SIZE, freed);
    this.#view = new DataView(bytes.buffer, INBOX_SIZE);
  }

  /** Records an event and returns the number of the record; blocks until one is free. */
  park(fd: number, offset: number, count: number, file: FileKey): number {
    return this.#parking.take(PARKED, (slot) => this.#record(slot, fd, offset, count, file));
  }

  /** Like {@link park}, but returns undefined when none is free. */
  parkAtOnce(fd: number, offset: number, count: number, file: FileKey): number | undefined {
    return this.#parking.takeAtOnce(PARKED, (slot) => this.#record(slot, fd, offset, count, file));
  }

  #record(slot: number, fd: number, offset: number, count: number, { dev, ino }: FileKey): void {
    const at = slot * RECORD.SIZE;
    this.#view.setInt32(at + RECORD.fd, fd, true);
    this.#view.setBigUint64(at + RECORD.offset, BigInt(offset), true);
    this.#view.setBigUint64(at + RECORD.count, BigInt(count), true);
    this.#view.setUint32(at + RECORD.device, dev, true);
    this.#view.setBigUint64(at + RECORD.inode, BigInt(ino), true);
  }

  /** Takes an event out of the inbox that is answered or parked. */
  take({ at }: FanotifyEvent): void {
    removeFanotifyEvent(this.inbox, at);
  }

  /** Releases a record after its event was answered. */
  release(slot: number): void {
    this.#parking.release(slot);
  }

  /** Zeroes the first `length` bytes of the inbox, once all its events are answered or parked. */
  clearInbox(length: number = INBOX_SIZE): void {
    this.inbox.fill(0, 0, length);
  }

  /** Events that may be unanswered: parked ones with their record numbers, and those in the inbox. */
  left(): (LeftEvent & { readonly slot?: number })[] {
    const parked = this.#parking.slots()
      .filter((slot) => this.#parking.stateOf(slot) !== 0)
      .map((slot) => ({ slot, ...this.#recordAt(slot * RECORD.SIZE) }));
    const recorded = new Set(parked.map(({ fd }) => fd));
    const inbox = decodeFanotifyEvents(this.inbox).filter(({ fd }) => fd >= 0 && !recorded.has(fd));
    return [...parked, ...inbox.map(({ fd, offset, count }) => ({ fd, offset, count, file: undefined }))];
  }

  #recordAt(at: number): LeftEvent {
    const ino = this.#view.getBigUint64(at + RECORD.inode, true);
    return {
      fd: this.#view.getInt32(at + RECORD.fd, true),
      offset: Number(this.#view.getBigUint64(at + RECORD.offset, true)),
      count: Number(this.#view.getBigUint64(at + RECORD.count, true)),
      file: {
        dev: this.#view.getUint32(at + RECORD.device, true),
        ino: ino <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(ino) : ino,
      },
    };
  }
}
