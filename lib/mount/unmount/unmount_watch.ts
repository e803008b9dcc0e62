/**
 * Reports when file systems are gone: not only unmounted, but released by every overlay and open file.
 *
 * ```ts
 * await using watch = new UnmountWatch();
 * await watch.gone("/run/x/image");
 * ```
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { IN, inotifyAddWatch, type InotifyEvent, inotifyInit, inotifyRead } from "../../../ffi/inotify.ts";
import { POLL, pollNonblocking } from "../../../ffi/poll.ts";
import { delay } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";

const log = logger("mount");

/** Milliseconds between attempts while the process is out of descriptors. */
const RESTART_MS = 1000;

/** Watches all file systems with one descriptor and, while there are any, one thread of Deno's pool. */
export class UnmountWatch implements AsyncDisposable {
  readonly #inotify: Fd = inotifyInit();
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();
  readonly #stop = new AbortController();
  #reading: Promise<void> | undefined;

  /**
   * Watches the file system whose root is at `path`. The promise resolves when it is gone or the watch ends, and never
   * rejects.
   *
   * @throws {SyscallError} when it cannot be watched
   */
  gone(path: string): Promise<void> {
    this.#stop.signal.throwIfAborted();
    const watch = inotifyAddWatch(this.#inotify, path, IN.DELETE_SELF | IN.ONLYDIR);
    const waiter = this.#waiting.get(watch) ?? Promise.withResolvers<void>(); // the kernel has one watch for a root
    this.#waiting.set(watch, waiter);
    this.#reading ??= this.#read();
    return waiter.promise;
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    const { signal } = this.#stop;
    while (this.#waiting.size > 0 && !signal.aborted) {
      try {
        await pollNonblocking([{ fd: this.#inotify, events: POLL.IN }], -1, signal);
        for (const event of inotifyRead(this.#inotify)) this.#note(event);
      } catch (error) {
        if (signal.aborted) break;
        log.error("unmounts are not noticed for a moment", { error: messageOf(error) });
        await delay(RESTART_MS, signal).catch(() => {}); // an end ends the loop
      }
    }
    this.#reading = undefined;
  }

  #note({ watch, mask }: InotifyEvent): void {
    if ((mask & IN.IGNORED) === 0) return;
    this.#waiting.get(watch)?.resolve();
    this.#waiting.delete(watch);
  }

  /** Ends the watch; pending promises resolve. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new NydusGdError("interrupted", "Cannot watch mount: the program is stopping"));
    await this.#reading;
    this.#inotify[Symbol.dispose]();
    for (const waiter of this.#waiting.values()) waiter.resolve();
  }
}
