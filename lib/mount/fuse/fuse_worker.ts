/**
 * A Worker that serves one kernel queue of a FUSE session. It blocks in read(2) until the mount is gone.
 *
 * WorkerStart ─► INIT ─► "ready" ─► requests … ─► "ended" ─► (main answers parked requests) ─► close ─► "closed"
 *
 * Once stopped at its gate, it ends with the next request and leaves that one unanswered. One that fails leaves its
 * request in the inbox to another that takes its place.
 *
 * @module
 */
import { EPOLL, ExclusiveWait } from "../../../ffi/epoll.ts";
import { ERRNO, errnoName } from "../../../ffi/errno.ts";
import { Fd } from "../../../ffi/fd.ts";
import { FUSE_IN_HEADER, FUSE_OPCODE } from "../../../ffi/fuse_kernel.ts";
import { FuseSessionHandle } from "../../../ffi/libfuse3_session.ts";
import { schedYield } from "../../../ffi/sched.ts";
import { MADV, Mapping } from "../../../ffi/sys_mman.ts";
import { Crowding } from "../../base/crowding.ts";
import { messageOf } from "../../base/errors.ts";
import { collectGarbage, REST_MS } from "../../base/garbage.ts";
import { PostedMessages } from "../reads/posted.ts";
import { ImageOperations, type OperationsHost } from "./operations.ts";
import { RequestRegion } from "./request_file.ts";
import { ServedImages } from "./served_images.ts";
import { COUNTER, type FromWorker, GATE, type Miss, type ToWorker, type WorkerStart } from "./worker_messages.ts";

const scope = self as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<WorkerStart | "close">) => void) | null;
  close(): void;
};

/** Requests without a reply. They are not replayed: they would count twice, and INIT was fed already. */
const NO_REPLY: ReadonlySet<number> = new Set([
  FUSE_OPCODE.INIT,
  FUSE_OPCODE.INTERRUPT,
  FUSE_OPCODE.FORGET,
  FUSE_OPCODE.BATCH_FORGET,
]);

/**
 * Milliseconds after a request during which the Worker polls for the next one: waking up on another processor takes 50
 * to 100 µs, several times as long as a lookup. It does not poll while processors are scarce, as the time would be
 * charged to its own share.
 */
const AWAKE_MS = 0.05;

class FuseWorker implements OperationsHost {
  readonly images = new ServedImages();
  readonly rootImage: number;
  readonly startSec: number;
  readonly openRequests: boolean;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly #start: WorkerStart;
  readonly #memory: Mapping;
  readonly #region: RequestRegion;
  readonly #header: DataView;
  readonly #session: FuseSessionHandle;
  readonly #messages: PostedMessages<ToWorker>;
  readonly #readable: ExclusiveWait;
  readonly #crowding = new Crowding();
  /** End of polling, by `performance.now()`. */
  #awakeUntil = 0;
  /** Whether no request was served since garbage was collected. */
  #rested = false;

  constructor(start: WorkerStart) {
    this.#start = start;
    this.#messages = new PostedMessages(start.messages);
    this.rootImage = start.rootImage;
    this.startSec = start.startSec;
    this.openRequests = start.openRequests;
    this.#memory = Mapping.anonymous(start.maxRead);
    this.data = this.#memory.bytes;
    this.#region = new RequestRegion(start.region, start.freed);
    const { inbox } = this.#region;
    this.#header = new DataView(inbox.buffer, inbox.byteOffset, FUSE_IN_HEADER.SIZE);
    this.#readable = new ExclusiveWait(start.fd, EPOLL.IN);
    const buffer = { address: start.region, bytes: inbox };
    this.#session = FuseSessionHandle.open(start.fd, buffer, new ImageOperations(this), start);
    for (const message of start.images) this.#apply(message);
    this.#session.initialize(start.init);
    this.post({ kind: "ready", session: this.#session.address });
  }

  /** Serves until the mount is gone or the gate is stopped. */
  serve(): void {
    this.#replay();
    const { gate } = this.#start;
    for (;;) {
      const length = this.#session.receive();
      if (length === -ERRNO.EAGAIN) this.#awaitRequest();
      if (length === -ERRNO.EINTR || length === -ERRNO.EAGAIN) continue;
      if (length === 0) return;
      if (length < 0) throw new Error(`Cannot read FUSE request: ${errnoName(-length)}`);
      Atomics.store(gate, GATE.busy, 1);
      const stopped = Atomics.load(gate, GATE.stopped) === 1;
      if (!stopped) this.#process();
      Atomics.store(gate, GATE.busy, 0);
      if (stopped) return;
      this.#awakeUntil = performance.now() + AWAKE_MS;
    }
  }

  /** Waits for a request, polling first. Frees memory after {@link REST_MS} without one. */
  #awaitRequest(): void {
    const now = performance.now();
    if (now < this.#awakeUntil && !this.#crowding.isCrowded(now)) {
      schedYield(); // with a single processor, lets the client run
      return;
    }
    const ready = this.#readable.wait(this.#rested ? -1 : REST_MS);
    if (!ready && !this.#rested) {
      collectGarbage();
      this.#memory.advise(MADV.DONTNEED);
    }
    this.#rested = !ready;
  }

  /** Processes the request in the inbox. */
  #process(): void {
    for (const message of this.#messages.take()) this.#apply(message);
    // libfuse would search the requests in flight; an immutable tree has nothing to interrupt
    if (this.#header.getUint32(FUSE_IN_HEADER.opcode, true) !== FUSE_OPCODE.INTERRUPT) {
      this.#count(COUNTER.requests, 1);
      this.#session.process();
    }
    this.#region.clearInbox();
  }

  /** Replays requests that were left and may be unanswered; the kernel refuses a second reply. */
  #replay(): void {
    const { replay } = this.#start;
    const parked = replay.parked ? this.#region.parkedSlots() : [];
    if (replay.inbox) this.#replayInbox();
    for (const slot of parked) {
      this.#region.unpark(slot);
      this.#replayInbox();
    }
  }

  #replayInbox(): void {
    if (this.#region.hasRequest && !NO_REPLY.has(this.#header.getUint32(FUSE_IN_HEADER.opcode, true))) {
      this.#session.processStored(this.#header.getUint32(FUSE_IN_HEADER.len, true));
    }
    this.#region.clearInbox();
  }

  park(miss: Omit<Miss, "kind" | "slot">): void {
    this.#count(COUNTER.misses, 1);
    this.post({ kind: "miss", slot: this.#region.park(), ...miss });
  }

  post(message: FromWorker): void {
    scope.postMessage(message);
  }

  countRead(bytes: number): void {
    this.#count(COUNTER.reads, 1);
    this.#count(COUNTER.readBytes, bytes);
  }

  /** Ends the session, after all parked requests were answered. */
  close(): void {
    this.#crowding[Symbol.dispose]();
    this.#readable[Symbol.dispose]();
    this.#session[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
    this.#messages.close();
  }

  /** Only this thread writes its counters; others read them. */
  #count(counter: number, by: number): void {
    const { counters } = this.#start;
    counters[counter] = (counters[counter] ?? 0) + by;
  }

  #apply(message: ToWorker): void {
    try {
      this.images.apply(message);
    } catch (error) {
      this.post({ kind: "damage", image: message.image, ino: 0, operation: message.kind, message: messageOf(error) });
    }
  }
}

let worker: FuseWorker | undefined;

scope.onmessage = ({ data }) => {
  if (data === "close") {
    worker?.close();
    scope.postMessage({ kind: "closed" });
    scope.close();
    return;
  }
  try {
    worker = new FuseWorker(data);
    worker.serve();
    scope.postMessage({ kind: "ended" });
  } catch (error) {
    if (worker === undefined) Fd.own(data.fd)[Symbol.dispose]();
    scope.postMessage({ kind: "ended", message: messageOf(error) });
  }
};
