/**
 * Notices to the kernel: what it keeps of the root folder or of a name is old.
 *
 * A notice goes through the session of a Worker, whichever: notices are the connection's. It runs on a thread of its own,
 * so the session has to stand until {@link Notices.settled} resolves.
 *
 * @module
 */
import { ERRNO, errnoName } from "../../../ffi/errno.ts";
import { FUSE_ROOT_ID } from "../../../ffi/fuse_kernel.ts";
import { notifyInvalEntry, notifyInvalInode } from "../../../ffi/libfuse3.ts";
import { logger } from "../../base/log.ts";

const log = logger("mount", "fuse");

/** Sends notices and knows those under way. */
export class Notices {
  readonly #underWay = new Set<Promise<number>>();

  /** @param session address of a struct fuse_session to send by; undefined when none is served any more */
  constructor(private readonly session: () => bigint | undefined) {}

  /** What the kernel may have of the root folder itself, attributes and listing, is old. */
  async invalidateRoot(): Promise<void> {
    await this.#send((session) => notifyInvalInode(session, FUSE_ROOT_ID));
  }

  /** `name` is gone from the folder `parent`, and what is below it. */
  async invalidateName(parent: bigint, name: string): Promise<void> {
    await this.#send((session) => notifyInvalEntry(session, parent, new TextEncoder().encode(name)));
  }

  /** Resolves when no notice uses a session any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #send(send: (session: bigint) => Promise<number>): Promise<void> {
    const session = this.session();
    if (session === undefined) return;
    const notice = send(session);
    this.#underWay.add(notice);
    const result = await notice;
    this.#underWay.delete(notice);
    // ENOENT: the kernel knows nothing of it
    if (result !== 0 && result !== -ERRNO.ENOENT) log.debug("notice refused", { errno: errnoName(-result) });
  }
}
