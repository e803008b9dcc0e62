/**
 * One HTTP request on one connection, from start to {@link Exchange.end}, within its time limits.
 *
 * Three phases have a limit and a name: connect (lookup, TCP, TLS, proxy tunnel), read (silence, or a response that
 * comes too slowly to be of use) and transfer (total).
 *
 * HTTP/1.1 is implemented here and in response_parser.ts on sockets of node:net and node:tls. node:http takes more than
 * twice the CPU time for a large response, five times for a small one, and 35 ms more for the first.
 *
 * @module
 */
import { once } from "node:events";
import type { Socket } from "node:net";
import { setImmediate } from "node:timers";
import { interruption } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { connectionError, type ConnectionPhase, disconnect, isDisconnect } from "./connection_error.ts";
import type { ConnectionPool } from "./connections.ts";
import type { Dialing } from "./dial.ts";
import type { FetchOptions } from "./fetch_options.ts";
import { HttpResponse } from "./http_response.ts";
import { placeReads } from "./placed_socket.ts";
import type { ProxyRoute } from "./proxy.ts";
import { type BodyStream, type HttpRequest, peerOf, requestBytes, speaksTls } from "./request_bytes.ts";
import { ResponseBody } from "./response_body.ts";
import { ResponseParser } from "./response_parser.ts";
import { unacknowledgedBytes } from "./send_queue.ts";
import { TransferError } from "./transfer_error.ts";

/** The connections, route and limits of a request. */
export interface Way {
  readonly connections: ConnectionPool;
  /** Undefined: directly. */
  readonly route: ProxyRoute | undefined;
  readonly timeouts: FetchOptions;
  readonly signal: AbortSignal | undefined;
}

/**
 * Bytes after which a response waits for the next turn of the event loop. The runtime reads a socket for as long as it
 * has data and would starve all others.
 */
const TURN_BYTES = 2 * 1024 * 1024;

/** Maximum bytes of a request that are written at once. */
const PART_BYTES = 64 * 1024;

/** More than the kernel takes for a connection that the other end has closed already. */
const STALE_BYTES = 8 * 1024 * 1024;

/**
 * Rate below which a response counts as silent, bytes per second. A connection that shares a link of 20 kB/s with seven
 * others is ten times faster; at this rate a chunk of 1 MiB would take an hour.
 */
const MIN_BYTES_PER_SECOND = 256;

/** Rate at which a server verifies and stores what it was sent before it answers, bytes per second. */
const STORED_BYTES_PER_SECOND = 10_000_000;

type Timer = ReturnType<typeof setTimeout>;

/** A request in flight. */
export class Exchange {
  readonly response: Promise<HttpResponse>;
  /**
   * Whether a reused connection was closed before the first byte of the response, and before the server can have taken
   * much of the request. Says nothing about the server's health.
   */
  wasStale = false;
  readonly #answered = Promise.withResolvers<HttpResponse>();
  readonly #broken = Promise.withResolvers<never>();
  readonly #timers = new Set<Timer>();
  readonly #parser: ResponseParser;
  readonly #body: ResponseBody;
  /** The server's name in messages. */
  readonly #server: string;
  #dialing: Dialing | undefined;
  #socket: Socket | undefined;
  /** Whether the connection has served an earlier request. */
  #isReused = false;
  /** Whether the whole request has been written: some are answered earlier. */
  #isSent = false;
  /** Whether the first byte of the response has arrived. */
  #hasBegun = false;
  /** Whether the head of the response has arrived. */
  #hasHead = false;
  #ended = false;
  /** Bytes received since the last yield to the event loop. */
  #turnBytes = 0;
  #lastProgress = performance.now();
  /** Bytes of the response since {@link #lastProgress}. */
  #bytesSince = 0;
  /** Bytes of the request that were written, and how many of them had arrived when that was last looked up. */
  #written = 0;
  #taken = 0;

  constructor(private readonly request: HttpRequest, private readonly way: Way) {
    const { url, method } = request;
    const { route, connections, timeouts, signal } = way;
    this.#server = route === undefined ? url.host : `${url.host} through proxy ${route.proxy.name}`;
    this.#body = new ResponseBody({
      pause: () => this.#socket?.pause(),
      resume: () => {
        this.#progress(); // the server could not send
        this.#socket?.resume();
      },
      giveUp: () => this.#abandon(),
    });
    this.#parser = new ResponseParser(method, {
      head: (head) => {
        this.#hasHead = true;
        const hasBody = method !== "HEAD";
        this.#answered.resolve(new HttpResponse(url, this.#server, head, this.#body, hasBody, this.#broken.promise));
      },
      data: (piece) => this.#body.push(piece),
      place: () => this.#body.place(),
      end: () => this.#body.end(true),
    });
    // The body may be read later, or never.
    this.#broken.promise.catch(() => {});
    this.response = Promise.race([this.#answered.promise, this.#broken.promise]);
    const bytes = requestBytes(request, route);
    this.#limit("transfer", timeouts.totalTimeoutMs);
    signal?.addEventListener("abort", this.#onAbort);
    const kept = connections.takeIdle();
    this.#isReused = kept !== undefined;
    if (kept === undefined) this.#connect(bytes);
    else this.#use(kept, bytes);
  }

  /** Stops whatever is still in progress. After a complete response, returns the connection to its pool. */
  end(): void {
    this.#ended = true;
    this.way.signal?.removeEventListener("abort", this.#onAbort);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (!this.#isSent || !this.#parser.reusable || this.#socket === undefined) return this.#abandon();
    const socket = this.#release(this.#socket);
    this.way.connections.give(socket);
  }

  async #connect(bytes: Uint8Array): Promise<void> {
    const { connections, timeouts, route } = this.way;
    const timer = this.#limit("connect", timeouts.connectTimeoutMs);
    try {
      this.#dialing = connections.dial();
      const socket = await this.#dialing.socket;
      clearTimeout(timer);
      this.#dialing = undefined;
      if (this.#ended) destroy(socket);
      else this.#use(socket, bytes);
    } catch (error) {
      this.#failed(error, speaksTls(this.request.url, route) ? "handshake" : "exchange");
    }
  }

  #use(socket: Socket, bytes: Uint8Array): void {
    this.#socket = socket;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onEnd);
    placeReads(socket, () => this.#parser.place());
    socket.resume();
    this.#progress();
    this.#watchProgress(this.way.timeouts.readTimeoutMs);
    void this.#send(socket, bytes);
  }

  /** @param bytes the head, with the body unless that is a stream */
  async #send(socket: Socket, bytes: Uint8Array): Promise<void> {
    const { body } = this.request;
    try {
      await this.#write(socket, bytes);
      if (typeof body === "object" && !(body instanceof Uint8Array)) await this.#stream(socket, body);
      this.#isSent = true;
    } catch (error) {
      // If the exchange failed first, its error is already reported and this one has no effect.
      this.#fail(error instanceof NydusGdError ? error : new NydusGdError("io", messageOf(error), { cause: error }));
    }
  }

  async #stream(socket: Socket, body: BodyStream): Promise<void> {
    let left = body.length;
    for await (const piece of body.open()) {
      if (this.#socket !== socket) return;
      left -= piece.length;
      if (left < 0) break;
      await this.#write(socket, piece);
    }
    if (left !== 0) throw new Error(`the body does not have the ${body.length} bytes that were announced`);
  }

  /**
   * Writes in parts, each of which counts as progress, since a slow link takes long for a large piece. What the kernel
   * still has to send is looked up when the time is over.
   */
  async #write(socket: Socket, piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; at += PART_BYTES) {
      if (socket.writableNeedDrain) await Promise.race([once(socket, "drain"), this.#broken.promise]);
      if (this.#socket !== socket) return;
      const part = piece.subarray(at, at + PART_BYTES);
      socket.write(part);
      this.#written += part.length;
      this.#progress();
    }
  }

  #release(socket: Socket): Socket {
    this.#socket = undefined;
    placeReads(socket, undefined);
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("error", this.#onError);
    socket.off("close", this.#onEnd);
    return socket;
  }

  /** Closes the connection, or gives up opening it. */
  #abandon(): void {
    this.#dialing?.giveUp();
    if (this.#socket !== undefined) destroy(this.#release(this.#socket));
  }

  readonly #onData = (bytes: Uint8Array) => {
    this.#arrived(bytes.length);
    this.#turnBytes += bytes.length;
    if (this.#turnBytes >= TURN_BYTES) this.#yield();
    try {
      this.#parser.push(bytes);
    } catch (error) {
      this.#failed(error, "exchange");
    }
  };

  #yield(): void {
    const socket = this.#socket;
    this.#turnBytes = 0;
    socket?.pause();
    setImmediate(() => {
      if (this.#socket === socket && !this.#body.isFull) socket?.resume();
    });
  }

  readonly #onEnd = () => {
    this.#parser.finish();
    if (!this.#hasHead) this.#failed(disconnect(), "exchange");
    else this.#body.end(false);
  };

  readonly #onError = (error: Error) => this.#failed(error, "exchange");

  readonly #onAbort = () => {
    const { signal } = this.way;
    if (signal !== undefined) this.#fail(interruption(signal));
  };

  #progress(): void {
    this.#lastProgress = performance.now();
    this.#bytesSince = 0;
  }

  /** Counts the first byte of a response as progress, then every further part of a useful size. */
  #arrived(bytes: number): void {
    const isFirst = !this.#hasBegun;
    this.#hasBegun = true;
    this.#bytesSince += bytes;
    if (isFirst || this.#bytesSince >= this.#usefulBytes) this.#progress();
  }

  /** Minimum bytes within the read timeout. */
  get #usefulBytes(): number {
    return this.way.timeouts.readTimeoutMs / 1000 * MIN_BYTES_PER_SECOND;
  }

  /** Counts what the server has taken of the body since the last call as progress if it is of a useful size. */
  #lookAtSent(): void {
    if (this.request.body === undefined || this.#hasBegun || this.#socket === undefined) return;
    const queued = unacknowledgedBytes(this.#socket);
    if (queued === undefined) return;
    const taken = this.#written - this.#socket.writableLength - queued;
    if (taken - this.#taken < this.#usefulBytes) return;
    this.#taken = taken;
    this.#progress();
  }

  /** How much longer than usual the server may be silent: while it stores what it was sent. */
  get #storingMs(): number {
    return this.#isSent && !this.#hasBegun ? this.#written / STORED_BYTES_PER_SECOND * 1000 : 0;
  }

  /** Uses one timer for the whole exchange: on expiry it re-arms for what is left since the last progress. */
  #watchProgress(limitMs: number): void {
    const allowedMs = () => limitMs + this.#storingMs;
    const leftMs = () => allowedMs() - (performance.now() - this.#lastProgress);
    const check = () => {
      if (this.#body.isFull) this.#progress();
      if (leftMs() <= 0) this.#lookAtSent();
      const left = leftMs();
      if (left > 0) this.#after(Math.ceil(left), check);
      else this.#timedOut("read", Math.round(allowedMs()), this.#bytesSince);
    };
    if (!this.#ended && limitMs > 0) this.#after(limitMs, check);
  }

  #limit(name: string, limitMs: number): Timer | undefined {
    return limitMs > 0 ? this.#after(limitMs, () => this.#timedOut(name, limitMs)) : undefined;
  }

  /** @param bytes received within the limit */
  #timedOut(name: string, limitMs: number, bytes = 0): void {
    const slowly = bytes === 0 ? "" : `, in which ${bytes} bytes came`;
    const state = `${name} from ${this.#server} timed out after ${limitMs} ms${slowly}`;
    this.#fail(new TransferError("unavailable", state, { prospect: "transient" }));
  }

  #failed(error: unknown, during: ConnectionPhase): void {
    if (!(error instanceof Error)) throw error;
    const isUnused = !this.#hasBegun && this.#written < STALE_BYTES;
    this.wasStale = this.#isReused && isUnused && isDisconnect(error);
    this.#fail(connectionError(error, peerOf(this.request.url, this.way.route), during));
  }

  #fail(error: NydusGdError): void {
    this.#broken.reject(error);
    this.#abandon();
  }

  #after(delayMs: number, action: () => void): Timer {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }
}

/** Closes a socket and ignores its later errors. */
function destroy(socket: Socket): void {
  socket.on("error", () => {});
  socket.destroy();
}
