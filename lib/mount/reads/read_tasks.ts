/**
 * Reads in flight that wait for data which is not cached.
 *
 * Each read is a separate task, so that a slow fetch does not delay others. An error or a missed deadline fails this
 * read only; the next one tries again.
 *
 * @module
 */
import { Deadline } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { RunningTasks } from "../../base/running_tasks.ts";

/** Reads caused by one failing read of a program: read-ahead, then the missing page itself. */
const READS_PER_FAILURE = 2;

/** The waiting reads of one server. */
export class ReadTasks {
  readonly #running = new RunningTasks();
  readonly #timeoutMs: number;
  #abandoned = false;

  /**
   * @param deadlineMs maximum wait of a program for one read of its own
   * @param signal aborts all reads in flight: each still gets its answer
   */
  constructor(deadlineMs: number, private readonly signal: AbortSignal) {
    this.#timeoutMs = Math.ceil(deadlineMs / READS_PER_FAILURE);
  }

  /**
   * Runs `answer`, which answers a read with data. If it throws, `fail` answers with an error, unless reads are left to
   * a successor.
   */
  start(answer: (signal: AbortSignal) => Promise<void>, fail: (error: unknown) => void): void {
    this.#running.add(this.#run(answer, fail));
  }

  /** From now on, reads that fail are not answered but left to a successor. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** Number of reads in flight. */
  get running(): number {
    return this.#running.count;
  }

  /** Resolves when every read has been answered. */
  settled(): Promise<void> {
    return this.#running.settled();
  }

  async #run(answer: (signal: AbortSignal) => Promise<void>, fail: (error: unknown) => void): Promise<void> {
    using deadline = new Deadline(this.#timeoutMs, this.signal, () => this.#timeoutError());
    try {
      await answer(deadline.signal);
    } catch (error) {
      if (!this.#abandoned) fail(error);
    }
  }

  #timeoutError(): NydusGdError {
    return new NydusGdError("unavailable", `Cannot read: no data within ${this.#timeoutMs} ms`, {
      hint: "check the network and the blobs' backend, or raise fetch.deadline",
    });
  }
}
