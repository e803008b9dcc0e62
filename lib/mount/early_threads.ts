/**
 * Threads that the mount of a single image needs, started before anything else is loaded: a thread takes as long to
 * start as the modules of the command take to load, so both happen at once.
 *
 * This module loads little, on purpose.
 *
 * @module
 */
import { ErofsTasks } from "./erofs/erofs_tasks.ts";
import { EarlyFuseThread } from "./fuse/fuse_thread.ts";

/** What the threads are for. */
export interface EarlyThreadsOptions {
  /** A data path, or "auto". */
  readonly fsDriver: string;
  /** Whether an existing mount is taken over, which needs no image for the kernel. */
  readonly takeOver?: boolean;
  /** The file that the user named. If it is a bootstrap, the image for the kernel is made of it at once. */
  readonly bootstrap?: string;
}

/** The threads. Disposing ends those that were not taken. */
export class EarlyThreads implements Disposable {
  /** Makes and mounts the image for the kernel; undefined if none is needed. */
  readonly tasks: ErofsTasks | undefined;
  /** Serves the session; undefined if none is needed. */
  readonly fuse: EarlyFuseThread | undefined;

  /** @throws {NydusGdError} "environment" when the process is out of descriptors */
  constructor({ fsDriver, takeOver = false, bootstrap }: EarlyThreadsOptions) {
    if (fsDriver !== "fuse" && !takeOver) {
      this.tasks = new ErofsTasks();
      if (bootstrap !== undefined) this.tasks.prepare(bootstrap);
    }
    if (fsDriver !== "erofs-fanotify" && fsDriver !== "erofs-fscache") this.fuse = new EarlyFuseThread();
  }

  [Symbol.dispose](): void {
    this.tasks?.[Symbol.dispose]();
    this.fuse?.[Symbol.dispose]();
  }
}
