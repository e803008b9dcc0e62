/**
 * Messages to a Worker that waits inside a system call and sees no event.
 *
 * They go through a port, and a shared counter says how many were posted: when the system call has returned, the Worker
 * takes in those that it lacks before it acts. Posted first, then counted.
 *
 * A message goes in a Map. The runtime looks at every property of every object and every element of every array that
 * receiveMessageOnPort returns, for ports: up to a second for the chunk table of a large blob, in which the Worker answers
 * nobody. It does not look into a Map.
 *
 * @module
 */
import { receiveMessageOnPort } from "node:worker_threads";

/** How long to wait before a message that was counted is asked for again. */
const POLL_MS = 1;

const ENVELOPED = "message";

/** A message on its way. */
type Envelope<T> = ReadonlyMap<typeof ENVELOPED, T>;

/** What the Worker is given; the port has to be transferred. */
export interface PostedEnd {
  readonly port: MessagePort;
  readonly posted: Int32Array<SharedArrayBuffer>;
}

/** The end that posts. */
export class Poster<T> {
  readonly #port: MessagePort;
  readonly far: PostedEnd;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.far = { port: port2, posted: new Int32Array(new SharedArrayBuffer(4)) };
  }

  /** Posts a message, which the Worker takes in before it acts next. */
  send(message: T): void {
    this.#port.postMessage(new Map([[ENVELOPED, message]]) satisfies Envelope<T>);
    Atomics.add(this.far.posted, 0, 1);
  }

  close(): void {
    this.#port.close();
  }
}

/** The Worker's end. */
export class PostedMessages<T> {
  /** Messages taken in. */
  #seen = 0;

  constructor(private readonly end: PostedEnd) {}

  /** Everything that was posted and not taken yet. */
  *take(): Generator<T> {
    const { posted, port } = this.end;
    while (this.#seen < Atomics.load(posted, 0)) {
      const received = receiveMessageOnPort(port as never) as { message: Envelope<T> } | undefined;
      if (received !== undefined) {
        this.#seen++;
        yield received.message.get(ENVELOPED) as T;
      } else Atomics.wait(posted, 0, Atomics.load(posted, 0), POLL_MS); // counted, but not through the port yet
    }
  }

  close(): void {
    this.end.port.close();
  }
}
