/**
 * A pool of Workers that start on demand, with channels to them.
 *
 * A channel is a conversation with one Worker. Channels share Workers and are identified by a number in the envelope of
 * each message, `{ channel, message }` in both directions ({@link serveChannels} is the Worker's side). When a Worker
 * dies, its channels fail and the next {@link WorkerPool.open} replaces it. A Worker without channels is ended after a
 * while.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { type ErrorCode, messageOf, NydusGdError } from "./errors.ts";
import { startWorker } from "./worker.ts";

/** A message and its channel, as posted. */
interface Envelope {
  readonly channel: number;
  readonly message: unknown;
}

/** The owner's end of a channel. */
export interface Channel<In> {
  /** Sends a message; buffers in `transfer` move to the Worker and are detached here. */
  post(message: In, transfer?: ArrayBuffer[]): void;
  /** Closes this end: no more messages arrive. */
  close(): void;
}

/** Callbacks of a channel's owner. */
export interface ChannelListener<Out> {
  onMessage(message: Out): void;
  /** The Worker has died, and the channel with it. */
  onDeath(error: NydusGdError): void;
}

interface WorkerSlot<Out> {
  readonly worker: Worker;
  readonly channels: Map<number, ChannelListener<Out>>;
  /** Ends the Worker when it has had no channel for a while. */
  idleTimer: ReturnType<typeof setTimeout> | undefined;
}

/** Milliseconds after which a Worker without channels is ended: it holds 15 MB and starts in 30 ms. */
const IDLE_MS = 10_000;

/** Up to `size` Workers of one module. Messages have the types `In` (to the Worker) and `Out` (from it). */
export class WorkerPool<In, Out> implements Disposable {
  readonly #slots: WorkerSlot<Out>[] = [];
  #nextChannel = 1;
  #disposed = false;

  constructor(readonly url: URL, readonly size: number, private readonly idleMs = IDLE_MS) {}

  /** Number of live Workers. */
  get workers(): number {
    return this.#slots.length;
  }

  /** Opens a channel to the Worker that has the fewest. */
  open(listener: ChannelListener<Out>): Channel<In> {
    if (this.#disposed) throw new NydusGdError("interrupted", "Cannot start work: the program is stopping");
    const slot = this.#pick();
    const channel = this.#nextChannel++;
    clearTimeout(slot.idleTimer);
    slot.channels.set(channel, listener);
    return {
      post: (message, transfer = []) => slot.worker.postMessage({ channel, message } satisfies Envelope, transfer),
      close: () => {
        if (slot.channels.delete(channel) && slot.channels.size === 0) this.#startIdleTimer(slot);
      },
    };
  }

  /** Ends the Workers immediately, whatever they are doing; open channels are notified. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const slot of [...this.#slots]) this.#terminate(slot, "the program is stopping");
  }

  #pick(): WorkerSlot<Out> {
    const idle = this.#slots.find((slot) => slot.channels.size === 0);
    if (idle !== undefined) return idle;
    if (this.#slots.length < this.size) return this.#start();
    return this.#slots.reduce((a, b) => b.channels.size < a.channels.size ? b : a);
  }

  #start(): WorkerSlot<Out> {
    const worker = startWorker(this.url, this.url.pathname.replace(/^.*\/|_worker\.[jt]s$/g, ""));
    const slot: WorkerSlot<Out> = { worker, channels: new Map(), idleTimer: undefined };
    worker.onmessage = ({ data }: MessageEvent<{ channel: number; message: Out }>) => {
      slot.channels.get(data.channel)?.onMessage(data.message);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#terminate(slot, event.message);
    };
    this.#slots.push(slot);
    return slot;
  }

  #startIdleTimer(slot: WorkerSlot<Out>): void {
    slot.idleTimer = setTimeout(() => this.#terminate(slot, "it had nothing to do"), this.idleMs);
  }

  #terminate(slot: WorkerSlot<Out>, state: string): void {
    clearTimeout(slot.idleTimer);
    slot.worker.terminate();
    const at = this.#slots.indexOf(slot);
    if (at >= 0) this.#slots.splice(at, 1);
    const error = new NydusGdError("internal", `Cannot continue: worker ended: ${state}`);
    for (const listener of slot.channels.values()) listener.onDeath(error);
    slot.channels.clear();
  }
}

/** The Worker's end of a channel. */
export interface ServedChannel<In> {
  onMessage(message: In): void;
}

/** The used part of a Worker's global scope. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<Envelope>) => void) | null;
  postMessage(message: Envelope, transfer: Transferable[]): void;
}

/**
 * Serves channels in a Worker.
 *
 * @param open called for the first message of a channel; `reply` sends a message on it and `done` closes it
 */
export function serveChannels<In, Out>(
  open: (reply: (message: Out, transfer?: ArrayBuffer[]) => void, done: () => void) => ServedChannel<In>,
): void {
  const scope = self as unknown as WorkerScope;
  const channels = new Map<number, ServedChannel<In>>();
  scope.onmessage = ({ data: { channel, message } }) => {
    let served = channels.get(channel);
    if (served === undefined) {
      served = open(
        (reply, transfer = []) => scope.postMessage({ channel, message: reply }, transfer),
        () => channels.delete(channel),
      );
      channels.set(channel, served);
    }
    served.onMessage(message as In);
  };
}

/** An error in a form that can be posted: keeps code, message and hint, but not class and cause. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
}

/**
 * Serializes an error for {@link receiveError}. A failed system call becomes "io", any other foreign error "internal".
 */
export function sendError(error: unknown): SentError {
  if (error instanceof NydusGdError) return { code: error.code, message: error.message, hint: error.hint };
  const code = error instanceof SyscallError ? "io" : "internal";
  return { code, message: messageOf(error), hint: undefined };
}

/** The inverse of {@link sendError}. */
export function receiveError(error: SentError): NydusGdError {
  return new NydusGdError(error.code, error.message, error.hint === undefined ? {} : { hint: error.hint });
}
