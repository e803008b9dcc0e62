/**
 * File that holds requests while they are in flight: in memory, mapped by all that serve, and held by the keeper too.
 *
 * ```
 * ┌───────────┬──────────────────────────────────────────┬─── … one such region per Worker
 * │ INIT      │ inbox: what read(2) delivered last       │ parked: READs that wait for data
 * │ 8192      │ RECEIVE_BUFFER_SIZE                      │ PARKED_COUNT × PARKED_STRIDE
 * └───────────┴──────────────────────────────────────────┴─── …
 * ```
 * The kernel forgets a request once it has been read; if the process is then killed, only this file still has it. So
 * requests are read into the file (MAP_SHARED memory outlives its process), and a successor finds there everything that
 * may be unanswered: INIT, and every record whose first word, the length of struct fuse_in_header, is not 0. The word
 * is zeroed after the reply has been written. A record may have been answered already, or be in both inbox and parking;
 * the kernel refuses a second reply with ENOENT.
 *
 * The inbox is as large as the kernel may fill it: an ioctl carries up to 16 KiB, a batch of FORGETs any amount. Only
 * READs are parked; they have no variable part.
 *
 * The part of an inbox that requests with an answer can fill is pinned (../reads/parking.ts). The file is not on a
 * disk, where the kernel makes pages read-only during writeback.
 *
 * @module
 */
import { FUSE_IN_HEADER, FUSE_MIN_READ_BUFFER, hasResend } from "../../../ffi/fuse_kernel.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { RECEIVE_BUFFER_SIZE } from "../../../ffi/libfuse3_session.ts";
import { type Mapping, memfdCreate, viewAt } from "../../../ffi/sys_mman.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { roundUp } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { mapPinned, Parking } from "../reads/parking.ts";

/** Size of the stored INIT request: the kernel requires a read buffer of at least this size. */
const INIT_SIZE = FUSE_MIN_READ_BUFFER;
/** Distance between parked requests in bytes; a READ has 80. */
const PARKED_STRIDE = 256;
/** Maximum number of READs of one Worker that may wait for data at once. */
export const PARKED_COUNT = 1024;
const INBOX_SIZE = roundUp(RECEIVE_BUFFER_SIZE, 4096);
const REGION_SIZE = INBOX_SIZE + PARKED_COUNT * PARKED_STRIDE;
/** Bytes of an inbox that are pinned. */
const PINNED_SIZE = 32 * 1024;

/** Offset of the region of Worker `index`. */
function regionAt(index: number): number {
  return INIT_SIZE + index * REGION_SIZE;
}

/** The whole file, held by the main thread. */
export class RequestFile implements Disposable {
  private constructor(readonly fd: Fd, private readonly mapping: Mapping, readonly workers: number) {}

  /** Creates an empty file. */
  static create(workers: number): RequestFile {
    const fd = memfdCreate("nydus-gd-requests");
    return RequestFile.#map(fd, INIT_SIZE + workers * REGION_SIZE, workers);
  }

  /**
   * Opens the file left by a predecessor, with everything that may be unanswered. Another version may have used another
   * layout of the regions: INIT is valid regardless, records are needed only if the kernel does not resend them.
   *
   * @param fd owned by the file from now on, even on failure
   * @throws {NydusGdError} "unsupported" if records in another layout are needed
   */
  static reopen(fd: Fd, workers: number): RequestFile {
    const size = INIT_SIZE + workers * REGION_SIZE;
    const found = fstat(fd).size;
    const file = RequestFile.#map(fd, Math.max(found, size), workers);
    if (found === size || hasResend(file.storedInit())) return file;
    file[Symbol.dispose]();
    throw new NydusGdError("unsupported", "Cannot take over requests: another version laid them out");
  }

  static #map(fd: Fd, size: number, workers: number): RequestFile {
    const inboxes = Array.from({ length: workers }, (_, index) => ({ offset: regionAt(index), length: PINNED_SIZE }));
    return new RequestFile(fd, mapPinned(fd, size, inboxes), workers);
  }

  /** Clears every record except INIT: the kernel will resend what is unanswered. */
  clearRecords(): void {
    const nothing = new Int32Array(new SharedArrayBuffer(4));
    for (let index = 0; index < this.workers; index++) {
      const region = new RequestRegion(this.regionAddress(index), nothing);
      region.clearInbox();
      for (let slot = 0; slot < PARKED_COUNT; slot++) region.release(slot);
    }
  }

  /** Buffer that INIT is read into. */
  get init(): Uint8Array<ArrayBuffer> {
    return this.mapping.bytes.subarray(0, INIT_SIZE);
  }

  /** A copy of the stored INIT request; empty if there is none. */
  storedInit(): Uint8Array<ArrayBuffer> {
    const init = this.init;
    const length = new DataView(init.buffer, init.byteOffset).getUint32(FUSE_IN_HEADER.len, true);
    return init.slice(0, Math.min(length, init.length));
  }

  /** Address of the region of Worker `index`, for {@link RequestRegion}. */
  regionAddress(index: number): bigint {
    if (index < 0 || index >= this.workers) throw new RangeError(`Cannot find region: no Worker ${index}`);
    return this.mapping.address + BigInt(regionAt(index));
  }

  /** Unmaps and closes. No Worker may use a region any more. */
  [Symbol.dispose](): void {
    this.mapping[Symbol.dispose]();
    this.fd[Symbol.dispose]();
  }
}

/** One Worker's part, as seen by the Worker and by the main thread. */
export class RequestRegion {
  /** The inbox. */
  readonly inbox: Uint8Array<ArrayBuffer>;
  readonly #inboxLength: Int32Array;
  readonly #parked: Uint8Array<ArrayBuffer>;
  /** Records of parked requests. The first word of a record is its length. */
  readonly #parking: Parking;

  /**
   * @param address of the region
   * @param freed shared counter of released records, to wait on when none is free
   */
  constructor(readonly address: bigint, freed: Int32Array<SharedArrayBuffer>) {
    const bytes = viewAt(address, REGION_SIZE);
    this.inbox = bytes.subarray(0, INBOX_SIZE);
    this.#inboxLength = new Int32Array(bytes.buffer, 0, 1);
    this.#parked = bytes.subarray(INBOX_SIZE);
    this.#parking = new Parking(this.#parked, PARKED_STRIDE, freed);
  }

  /** Copies the request in the inbox to a free record and returns its number; blocks while all are taken. */
  park(): number {
    return this.#parking.take(Atomics.load(this.#inboxLength, 0), (slot) => {
      this.#parked.set(this.inbox.subarray(4, PARKED_STRIDE), slot * PARKED_STRIDE + 4);
    });
  }

  /** Whether the inbox holds a request. */
  get hasRequest(): boolean {
    return Atomics.load(this.#inboxLength, 0) >= FUSE_IN_HEADER.SIZE;
  }

  /** Numbers of the records that hold a parked request. */
  parkedSlots(): number[] {
    return this.#parking.slots().filter((slot) => this.#parking.stateOf(slot) >= FUSE_IN_HEADER.SIZE);
  }

  /**
   * Moves a parked request to the inbox, which must be free. After a kill in between it is in both; only one reply
   * counts.
   */
  unpark(slot: number): void {
    const at = slot * PARKED_STRIDE;
    this.inbox.set(this.#parked.subarray(at + 4, at + PARKED_STRIDE), 4);
    Atomics.store(this.#inboxLength, 0, this.#parking.stateOf(slot));
    this.release(slot);
  }

  /** Marks the request in the inbox as answered or parked. */
  clearInbox(): void {
    Atomics.store(this.#inboxLength, 0, 0);
  }

  /** Frees a record after its reply. */
  release(slot: number): void {
    this.#parking.release(slot);
  }
}
