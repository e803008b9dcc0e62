/**
 * Messages to a Worker that blocks in a system call and receives no events.
 *
 * They are posted to a port, then counted in shared memory. When the system call returns, the Worker receives as many
 * as it lacks before it acts.
 *
 * Each message is wrapped in a Map: the runtime searches every property and array element of what receiveMessageOnPort
 * returns for ports, which takes up to a second for the chunk table of a large blob, during which the Worker answers
 * nobody. It does not search Maps.
 *
 * @module
 */
import { receiveMessageOnPort } from "node:worker_threads";

/** Milliseconds to wait before polling again for a message that was counted. */
const POLL_MS = 1;

const ENVELOPED = "message";

/** A message as posted. */
type Envelope<T> = ReadonlyMap<typeof ENVELOPED, T>;

/** The receiving end, for the Worker; the port must be transferred. */
export interface PostedEnd {
  readonly port: MessagePort;
  readonly posted: Int32Array<SharedArrayBuffer>;
}

/** The sending end. */
export class Poster<T> {
  readonly #port: MessagePort;
  readonly far: PostedEnd;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.far = { port: port2, posted: new Int32Array(new SharedArrayBuffer(4)) };
  }

  /** Posts a message, which the Worker receives before it next acts. */
  send(message: T): void {
    this.#port.postMessage(new Map([[ENVELOPED, message]]) satisfies Envelope<T>);
    Atomics.add(this.far.posted, 0, 1);
  }

  close(): void {
    this.#port.close();
  }
}

/** The receiving end, in the Worker. */
export class PostedMessages<T> {
  /** Number of messages received. */
  #seen = 0;

  constructor(private readonly end: PostedEnd) {}

  /** Receives all pending messages. */
  *take(): Generator<T> {
    const { posted, port } = this.end;
    while (this.#seen < Atomics.load(posted, 0)) {
      const received = receiveMessageOnPort(port as never) as { message: Envelope<T> } | undefined;
      if (received !== undefined) {
        this.#seen++;
        yield received.message.get(ENVELOPED) as T;
      } else Atomics.wait(posted, 0, Atomics.load(posted, 0), POLL_MS); // counted, but not delivered yet
    }
  }

  close(): void {
    this.end.port.close();
  }
}
