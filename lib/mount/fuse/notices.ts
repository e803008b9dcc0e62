/**
 * Notices that invalidate what the kernel has cached of the root folder or of a name.
 *
 * A notice may be sent through the session of any Worker, since it concerns the whole connection. It runs on a thread
 * of its own, so the session must stay alive until {@link Notices.settled} resolves.
 *
 * @module
 */
import { ERRNO, errnoName } from "../../../ffi/errno.ts";
import { FUSE_ROOT_ID } from "../../../ffi/fuse_kernel.ts";
import { notifyInvalEntry, notifyInvalInode } from "../../../ffi/libfuse3.ts";
import { logger } from "../../base/log.ts";
import { RunningTasks } from "../../base/running_tasks.ts";

const log = logger("mount", "fuse");

/** Sends notices and tracks those in flight. */
export class Notices {
  readonly #underWay = new RunningTasks();

  /** @param session address of a struct fuse_session to send through; undefined when none is served any more */
  constructor(private readonly session: () => bigint | undefined) {}

  /** Invalidates attributes and listing of the root folder. */
  async invalidateRoot(): Promise<void> {
    await this.#send((session) => notifyInvalInode(session, FUSE_ROOT_ID));
  }

  /** Invalidates `name` in the folder `parent`, and everything below it. */
  async invalidateName(parent: bigint, name: string): Promise<void> {
    await this.#send((session) => notifyInvalEntry(session, parent, new TextEncoder().encode(name)));
  }

  /** Resolves when no notice uses a session any more. */
  async settled(): Promise<void> {
    await this.#underWay.settled();
  }

  async #send(send: (session: bigint) => Promise<number>): Promise<void> {
    const session = this.session();
    if (session === undefined) return;
    const result = await this.#underWay.add(send(session));
    // ENOENT: the kernel has nothing cached
    if (result !== 0 && result !== -ERRNO.ENOENT) log.debug("notice refused", { errno: errnoName(-result) });
  }
}
