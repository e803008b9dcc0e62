/**
 * What a FUSE session is given and what it tells.
 *
 * @module
 */
import type { MountableImage } from "../image_mount.ts";

/** An image and its number in node ids. */
export interface NumberedImage {
  readonly image: MountableImage;
  /** 1 … 2^23-1, never given to another image, the same after a restart. */
  readonly number: number;
}

/** How a session is set up. */
export interface FuseSessionOptions {
  /** An existing folder, absolute, without links. */
  readonly mountpoint: string;
  /** An existing folder of ours: the request file and the record of the keeper are made here. One session in each. */
  readonly stateDir: string;
  /** Threads that answer the kernel, 1 to 16. A session that is taken over keeps its number. */
  readonly workers: number;
  /** How long a program waits for data that are not in the cache; then it gets EIO. */
  readonly deadlineMs: number;
  /** The one image that is the mount itself; `FuseSession.add` is refused then. */
  readonly single?: NumberedImage;
  /**
   * Answer OPEN and OPENDIR one by one. By default the kernel is told once that it need not ask, which makes opening
   * twice as fast and rules out flags of single files (direct_io, passthrough) in this session.
   */
  readonly openRequests?: boolean;
  /** Nothing is mounted before it resolves, or if it rejects; threads start meanwhile. */
  readonly mayMount?: Promise<void> | undefined;
}

/** What has been served since the start. */
export interface FuseCounters {
  readonly requests: number;
  /** READs that a Worker answered from the cache, and their bytes. */
  readonly reads: number;
  readonly readBytes: number;
  /** READs that had to wait for data. */
  readonly misses: number;
}
