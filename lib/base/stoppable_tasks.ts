/**
 * Tasks of an owner that can be stopped: each has a signal, and the owner waits for all of them at its end.
 *
 * ```ts
 * const tasks = new StoppableTasks();
 * await tasks.run((signal) => work(signal), request.signal);
 * await tasks.stop(new NydusGdError("interrupted", "Cannot continue: the store is being closed"));
 * ```
 *
 * @module
 */
import { joined, throwIfAborted } from "./abort.ts";
import type { NydusGdError } from "./errors.ts";
import { RunningTasks } from "./running_tasks.ts";

/** The tasks that are running, and the signal that stops them. */
export class StoppableTasks {
  readonly #running = new RunningTasks();
  readonly #stop = new AbortController();

  /** Returns a signal that is aborted when the tasks are stopped, and when the caller's is. */
  until(signal?: AbortSignal): AbortSignal {
    return joined(this.#stop.signal, signal);
  }

  /**
   * Runs a task with the signal of {@link until}.
   *
   * @throws {NydusGdError} instead of running it, if that is aborted already
   */
  run<T>(task: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const until = this.until(signal);
    const run = async () => {
      throwIfAborted(until);
      return await task(until);
    };
    return this.#running.add(run());
  }

  /** Aborts all signals, and waits until no task is running. Never rejects. */
  async stop(reason: NydusGdError): Promise<void> {
    this.#stop.abort(reason);
    await this.#running.settled();
  }
}
