/**
 * Options and counters of a FUSE session.
 *
 * @module
 */
import type { MountableImage } from "../image_mount.ts";
import type { EarlyFuseThread } from "./fuse_thread.ts";

/** An image with its number in node ids. */
export interface NumberedImage {
  readonly image: MountableImage;
  /** 1 … 2^23-1; never reused for another image, the same after a restart. */
  readonly number: number;
}

/** Options of a session. */
export interface FuseSessionOptions {
  /** An existing folder; absolute, without symbolic links. */
  readonly mountpoint: string;
  /** An existing private folder for the request file and the keeper's record. One session per folder. */
  readonly stateDir: string;
  /** Number of threads that answer the kernel, 1 to 16. A session that is taken over keeps its number. */
  readonly workers: number;
  /** How long a program waits for data that is not in the cache before it gets EIO. */
  readonly deadlineMs: number;
  /** Serves this image as the mount itself. `FuseSession.add` is refused then. */
  readonly single?: NumberedImage;
  /**
   * Answer every OPEN and OPENDIR. By default the kernel is told once that it need not ask, which makes opening twice
   * as fast but rules out flags of single files (direct_io, passthrough) in this session.
   */
  readonly openRequests?: boolean;
  /** Nothing is mounted before this resolves, or if it rejects; threads start meanwhile. */
  readonly mayMount?: Promise<void> | undefined;
  /** The first thread, if it is already starting; the session takes it. */
  readonly thread?: EarlyFuseThread | undefined;
}

/** Totals since the start. */
export interface ServeCounters {
  readonly requests: number;
  /** READs answered by a Worker from the cache, and their bytes. */
  readonly reads: number;
  readonly readBytes: number;
  /** READs that had to wait for data. */
  readonly misses: number;
  /** Threads that failed while they answered the kernel, and were replaced. */
  readonly threadFailures: number;
}
