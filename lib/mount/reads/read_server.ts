/**
 * What the servers of the kernel's own file systems have in common: reads that wait for data, and how serving ends.
 *
 * ```
 * leave: no more requests ─► reads are aborted, those that fail go unanswered ─► closed      a successor answers
 * end:   no more requests ─► reads are aborted, those that fail get EIO       ─► closed
 * ```
 * A server (fanotify/event_server.ts, fscache/cache_server.ts) takes requests from the kernel, and starts a read for
 * each that needs data to be fetched.
 *
 * @module
 */
import type { Logger } from "@logtape/logtape";
import { NydusGdError } from "../../base/errors.ts";
import type { KnownImage } from "./known_image.ts";
import { FailureLog } from "./read_failures.ts";
import { ReadTasks } from "./read_tasks.ts";

/** Answers requests of the kernel for data. */
export abstract class ReadServer {
  readonly #ending = new AbortController();
  readonly #tasks: ReadTasks;
  readonly #failures: FailureLog;

  /** @param deadlineMs maximum wait of a program for one read */
  constructor(log: Logger, deadlineMs: number) {
    this.#tasks = new ReadTasks(deadlineMs, this.#ending.signal);
    this.#failures = new FailureLog(log);
  }

  /** Number of readers waiting for data. */
  get waiting(): number {
    return this.#tasks.running;
  }

  /** Stops; unanswered requests are left to a successor. */
  async leave(): Promise<void> {
    this.#tasks.abandon();
    await this.end();
  }

  /** Stops; waiting readers get EIO. */
  async end(): Promise<void> {
    await this.stopTaking();
    this.#ending.abort(new NydusGdError("interrupted", "Cannot read: the mount ends"));
    await this.#tasks.settled();
    await this.close();
  }

  /** Resolves when no request is taken from the kernel any more. */
  protected abstract stopTaking(): Promise<void>;

  /** Releases what answers need; no read is left. */
  protected abstract close(): Promise<void> | void;

  /** Starts a read that waits for data, as {@link ReadTasks.start}. */
  protected startRead(answer: (signal: AbortSignal) => Promise<void>, fail: (error: unknown) => void): void {
    this.#tasks.start(answer, fail);
  }

  /** Resolves when every read that was started has been answered. */
  protected readsSettled(): Promise<void> {
    return this.#tasks.settled();
  }

  /** Notes a successful read of an image's blob. */
  protected noteSuccess(known: KnownImage, blobId: string): void {
    this.#failures.succeeded(known, blobId);
  }

  /** Logs a failed read at `offset` of a file, unless it fails because serving ends. */
  protected noteFailure(known: KnownImage, offset: number, error: unknown): void {
    if (!this.#ending.signal.aborted) this.#failures.failed(known, { offset }, error);
  }

  /** Forgets what was noted of an image that is no longer read. */
  protected forgetFailures(known: KnownImage): void {
    this.#failures.forget(known);
  }
}
