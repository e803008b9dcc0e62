/**
 * A few Workers that start on demand, and channels to them.
 *
 * A channel is one conversation with one Worker; many share a Worker, told apart by a number that this module puts
 * around each message: `{ channel, message }` both ways ({@link serveChannels} on the Worker's side). A Worker that dies
 * fails its channels and is replaced by the next {@link WorkerPool.open}; one without channels is ended after a while.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { type ErrorCode, messageOf, NydusGdError } from "./errors.ts";
import { startWorker } from "./worker.ts";

/** What travels: a message of one channel. */
interface Envelope {
  readonly channel: number;
  readonly message: unknown;
}

/** The owner's end of a conversation. */
export interface Channel<In> {
  /** Sends a message; buffers in `transfer` move to the Worker and are empty here afterwards. */
  post(message: In, transfer?: ArrayBuffer[]): void;
  /** Ends the conversation here: no more messages arrive. */
  close(): void;
}

/** What the owner of a channel is told. */
export interface ChannelListener<Out> {
  onMessage(message: Out): void;
  /** The Worker is gone, the conversation with it. */
  onDeath(error: NydusGdError): void;
}

interface Lane<Out> {
  readonly worker: Worker;
  readonly channels: Map<number, ChannelListener<Out>>;
  /** Ends the Worker when it has had no channel for a while. */
  idleTimer: ReturnType<typeof setTimeout> | undefined;
}

/** Milliseconds without a channel after which a Worker is ended: it holds 15 MB and starts in 30 ms. */
const IDLE_MS = 10_000;

/** Up to `size` Workers of one module. Messages are of types `In` (to the Worker) and `Out` (from it). */
export class WorkerPool<In, Out> implements Disposable {
  readonly #lanes: Lane<Out>[] = [];
  #nextChannel = 1;
  #disposed = false;

  constructor(readonly url: URL, readonly size: number, private readonly idleMs = IDLE_MS) {}

  /** Workers that are alive. */
  get workers(): number {
    return this.#lanes.length;
  }

  /** A conversation with the Worker that has the fewest. */
  open(listener: ChannelListener<Out>): Channel<In> {
    if (this.#disposed) throw new NydusGdError("interrupted", "Cannot start work: the program is stopping");
    const lane = this.#pick();
    const channel = this.#nextChannel++;
    clearTimeout(lane.idleTimer);
    lane.channels.set(channel, listener);
    return {
      post: (message, transfer = []) => lane.worker.postMessage({ channel, message } satisfies Envelope, transfer),
      close: () => {
        if (lane.channels.delete(channel) && lane.channels.size === 0) this.#rest(lane);
      },
    };
  }

  /** Ends the Workers at once, wherever they are; open channels are told. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const lane of [...this.#lanes]) this.#bury(lane, "the program is stopping");
  }

  #pick(): Lane<Out> {
    const idle = this.#lanes.find((lane) => lane.channels.size === 0);
    if (idle !== undefined) return idle;
    if (this.#lanes.length < this.size) return this.#start();
    return this.#lanes.reduce((a, b) => b.channels.size < a.channels.size ? b : a);
  }

  #start(): Lane<Out> {
    const worker = startWorker(this.url, this.url.pathname.replace(/^.*\/|_worker\.[jt]s$/g, ""));
    const lane: Lane<Out> = { worker, channels: new Map(), idleTimer: undefined };
    worker.onmessage = ({ data }: MessageEvent<{ channel: number; message: Out }>) => {
      lane.channels.get(data.channel)?.onMessage(data.message);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#bury(lane, event.message);
    };
    this.#lanes.push(lane);
    return lane;
  }

  #rest(lane: Lane<Out>): void {
    lane.idleTimer = setTimeout(() => this.#bury(lane, "it had nothing to do"), this.idleMs);
  }

  #bury(lane: Lane<Out>, state: string): void {
    clearTimeout(lane.idleTimer);
    lane.worker.terminate();
    const at = this.#lanes.indexOf(lane);
    if (at >= 0) this.#lanes.splice(at, 1);
    const error = new NydusGdError("internal", `Cannot go on with work: worker ended: ${state}`);
    for (const listener of lane.channels.values()) listener.onDeath(error);
    lane.channels.clear();
  }
}

/** The Worker's end of a conversation. */
export interface ServedChannel<In> {
  onMessage(message: In): void;
}

/** The part of a Worker's global scope that is used here. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<Envelope>) => void) | null;
  postMessage(message: Envelope, transfer?: Transferable[]): void;
}

/**
 * Serves channels in a Worker.
 *
 * @param open called at the first message of a channel; `reply` sends on it and `done` forgets it
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

/** An error in a form that can be sent; class and cause are lost, code, message and hint stay. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
}

/** For {@link receiveError}. A failed system call becomes "io", what is no {@link NydusGdError} "internal". */
export function sendError(error: unknown): SentError {
  if (error instanceof NydusGdError) return { code: error.code, message: error.message, hint: error.hint };
  const code = error instanceof SyscallError ? "io" : "internal";
  return { code, message: messageOf(error), hint: undefined };
}

/** The inverse of {@link sendError}. */
export function receiveError(error: SentError): NydusGdError {
  return new NydusGdError(error.code, error.message, error.hint === undefined ? {} : { hint: error.hint });
}
