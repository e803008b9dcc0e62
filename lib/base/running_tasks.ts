/**
 * Tasks that run beside their caller, and have to end before what they use is closed.
 *
 * ```ts
 * const tasks = new RunningTasks();
 * tasks.add(work(file));
 * await tasks.settled();
 * file.close();
 * ```
 *
 * @module
 */

/** The tasks that are running. */
export class RunningTasks {
  readonly #running = new Set<Promise<unknown>>();

  /** Adds a task and returns it: a failure is for whoever awaits that. */
  add<T>(task: Promise<T>): Promise<T> {
    const running = task.finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  /** Number of tasks that are running. */
  get count(): number {
    return this.#running.size;
  }

  /** Resolves when no task is running, not even one that was added meanwhile. Never rejects. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }
}
