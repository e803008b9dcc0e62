/**
 * Accepts connections on a listening socket, and greets them (greeter.ts), whether or not the server is there that will
 * answer their calls.
 *
 * The runtime's own listeners cannot be made of a descriptor that was inherited, or stop accepting for good, without any
 * event, once an accept fails because the process is out of descriptors. Here a failed accept is repeated: clients wait in
 * the meantime.
 *
 * @module
 */
import type { Duplex } from "node:stream";
import type { Fd } from "../../ffi/fd.ts";
import { POLL, pollNonblocking } from "../../ffi/poll.ts";
import { delay } from "../../lib/base/abort.ts";
import { messageOf } from "../../lib/base/errors.ts";
import { logger } from "../../lib/base/log.ts";
import { greetedStream } from "./greeted_stream.ts";
import { acceptGreeted, takeGreeted } from "./greeter.ts";
import type { KeptSocket } from "./kept_socket.ts";

const log = logger("containerd");

/** Delay between attempts to accept. */
const PAUSE_MS = 250;
/** How long a client may take to close a connection that the server has ended. */
const FAREWELL_MS = 1_000;

/** Accepts the connections of a socket, which it owns. */
export class Listener {
  readonly #stop = new AbortController();
  readonly #accepting: Promise<void>;
  /** Connections that wait for the server. */
  readonly #waiting: Fd[];
  /** Second descriptors of the connections that are served. */
  readonly #served = new Set<Fd>();
  #use: ((connection: Duplex) => void) | undefined;
  #lastFailure: string | undefined;

  constructor(private readonly socket: KeptSocket) {
    this.#waiting = takeGreeted(socket.fd);
    this.#accepting = this.#accept();
  }

  /** Passes connections to an HTTP/2 server, those that wait and all that follow. */
  serve(use: (connection: Duplex) => void): void {
    this.#use = use;
    for (const connection of this.#waiting.splice(0)) this.#take(connection);
  }

  /** Accepts no further connections, and closes the socket. Connections that are served stay. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#accepting;
    await this.socket.close();
    for (const connection of this.#waiting.splice(0)) connection[Symbol.dispose]();
  }

  /**
   * Waits until clients have closed the connections that the server has ended since {@link close}. They remain open until
   * then: a client that sends a call at that very moment, and finds the connection closed before it reads that the server
   * has ended it, takes the call for lost instead of sending it again.
   */
  async parted(): Promise<void> {
    const deadline = performance.now() + FAREWELL_MS;
    for (let left = FAREWELL_MS; this.#served.size > 0 && left > 0; left = deadline - performance.now()) {
      const connections = [...this.#served];
      const seen = await pollNonblocking(connections.map((fd) => ({ fd, events: 0 })), left);
      connections.forEach((fd, index) => seen[index] !== 0 && this.#forget(fd));
    }
    for (const fd of this.#served) this.#forget(fd);
  }

  async #accept(): Promise<void> {
    const { socket: { fd } } = this;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for (const connection of acceptGreeted(fd)) this.#take(connection);
        this.#lastFailure = undefined;
        await pollNonblocking([{ fd, events: POLL.IN }], -1, signal);
      } catch (error) {
        if (!signal.aborted) await this.#pauseAfter(error);
      }
    }
  }

  #take(connection: Fd): void {
    if (this.#use === undefined) this.#waiting.push(connection);
    else this.#use(this.#streamOf(connection));
  }

  /** The connection for the server. One that breaks ends with its calls. */
  #streamOf(connection: Fd): Duplex {
    try {
      const second = connection.duplicate();
      this.#served.add(second);
      const stream = greetedStream(connection);
      stream.on("error", (error) => log.debug("connection ended", { reason: messageOf(error) }));
      stream.on("close", () => this.#stop.signal.aborted || this.#forget(second));
      return stream;
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
  }

  #forget(connection: Fd): void {
    this.#served.delete(connection);
    connection[Symbol.dispose]();
  }

  /** Logs each kind of failure once. */
  async #pauseAfter(error: unknown): Promise<void> {
    const reason = messageOf(error);
    if (reason !== this.#lastFailure) log.error("cannot accept connections of containerd, trying again", { reason });
    this.#lastFailure = reason;
    await delay(PAUSE_MS);
  }
}
