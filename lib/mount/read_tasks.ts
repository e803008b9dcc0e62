/**
 * Reads under way whose data are not in the cache.
 *
 * Each is a task of its own, so a slow fetch holds up no other. What fails, or takes longer than its deadline, is an error
 * for this read only; the next one tries again.
 *
 * @module
 */
import { Deadline } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";

/** See the module. */
export class ReadTasks {
  readonly #running = new Set<Promise<void>>();
  #abandoned = false;

  /**
   * @param timeoutMs how long one read may wait for its data
   * @param signal ends what is under way: every read still gets its answer
   */
  constructor(private readonly timeoutMs: number, private readonly signal: AbortSignal) {}

  /**
   * Starts `answer`, which answers a read with data; where it throws, `fail` answers with an error, unless reads are
   * left to a successor.
   */
  start(answer: (signal: AbortSignal) => Promise<void>, fail: (error: unknown) => void): void {
    const task = this.#run(answer, fail).finally(() => this.#running.delete(task));
    this.#running.add(task);
  }

  /** From now on what cannot be answered with data is not answered at all: a successor will. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** How many are under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Resolves when every read has its answer. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #run(answer: (signal: AbortSignal) => Promise<void>, fail: (error: unknown) => void): Promise<void> {
    using deadline = new Deadline(this.timeoutMs, this.signal, () => this.#late());
    try {
      await answer(deadline.signal);
    } catch (error) {
      if (!this.#abandoned) fail(error);
    }
  }

  #late(): NydusGdError {
    return new NydusGdError("unavailable", `Cannot read: no data within ${this.timeoutMs} ms`, {
      hint: "look at the network and the blobs' home, or raise fetch.deadline",
    });
  }
}
