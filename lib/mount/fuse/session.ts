/**
 * One FUSE session that carries all images: a top-level folder for each, or one image as the mount itself.
 *
 * ```
 *                      ┌─ Worker 0 ◄── /dev/fuse          answers everything that is in the bootstrap or the cache
 *  processes ─ kernel ─┤
 *                      └─ Worker k ◄── /dev/fuse, cloned
 *                            │ READs of what is missing
 *                            ▼
 *                      main thread ──► ChunkStore.ensure ──► reply
 * ```
 * /dev/fuse is opened and mounted here, requests pass through a file in memory, a keeper holds both as well, and node
 * ids are a function of image and inode (node_id.ts). So after this process was killed or has left,
 * {@link FuseSession.takeOver} continues with the same mount, and programs that read meanwhile wait. FORGET only
 * determines when a removed image may be released; the successor of a killed process does not know that.
 *
 * The session decides when it begins and how it ends. The state that this takes is in parts of its own:
 *
 * | part             | what it knows                                                     |
 * | ---------------- | ----------------------------------------------------------------- |
 * | `FuseConnection` | the descriptors and the request file, and who else holds them     |
 * | `FuseWorkerSet`  | the threads                                                       |
 * | `ImageRegistry`  | the images, and how often the kernel refers to them               |
 * | `ShownImages`    | which names the kernel has to learn or to forget                  |
 * | `MissHandler`    | the READs that wait for data                                      |
 * | `WorkerReports`  | what follows from what a thread tells                             |
 *
 * The mount must never be touched by the process that serves it, except from other processes' requests: a stat on the
 * main thread would wait for itself. Use ffi/mountinfo.ts to find out what is mounted.
 *
 * ```ts
 * const places = { mountpoint: "/run/x/images", stateDir: "/run/x" };
 * await using session = await FuseSession.start({ ...places, workers: 2, deadlineMs: 60_000 });
 * await using mount = await session.add(image, 1); // /run/x/images/<image.name>
 * ```
 *
 * @module
 */
import { MNT } from "../../../ffi/sys_mount.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { MountableImage } from "../image_mount.ts";
import { unmount } from "../unmount/unmount.ts";
import { FuseConnection } from "./fuse_connection.ts";
import { checkLibrary } from "./fuse_mount.ts";
import { ImageRegistry, registeredNumber } from "./image_registry.ts";
import { leaveReferences, takeReferences } from "./left_references.ts";
import { MissHandler } from "./miss_handler.ts";
import { checkImageNumber } from "./node_id.ts";
import { Notices } from "./notices.ts";
import type { FuseSessionOptions, NumberedImage, ServeCounters } from "./session_options.ts";
import { type ShownImage, ShownImages } from "./shown_images.ts";
import { type Replay, REPLAY_ALL, REPLAY_NOTHING } from "./worker_messages.ts";
import { WorkerReports } from "./worker_reports.ts";
import { FuseWorkerSet } from "./worker_set.ts";

export type { FuseSessionOptions, NumberedImage, ServeCounters } from "./session_options.ts";

const log = logger("mount", "fuse");

/**
 * Maximum size of a READ in bytes. Read-ahead stays at the kernel's 128 KiB: a small cold read fetches no more than it
 * touches.
 */
const MAX_READ = 1 << 20;
/**
 * Maximum number of asynchronous READs (read-ahead) in flight; a single slow registry would use up the kernel's default
 * of 12.
 */
const MAX_BACKGROUND = 128;
/** How long Workers have to end after an unmount before the connection is cut for remaining users. */
const DRAIN_TIMEOUT_MS = 3_000;

/** A mounted, served FUSE session. */
export class FuseSession implements AsyncDisposable {
  readonly #images: ImageRegistry;
  readonly #shown: ShownImages;
  readonly #misses: MissHandler;
  readonly #notices: Notices;
  #ended: Promise<void> | undefined;

  private constructor(
    private readonly options: FuseSessionOptions,
    private readonly connection: FuseConnection,
    private readonly workers: FuseWorkerSet,
  ) {
    const { mountpoint, deadlineMs, single } = options;
    const hasEnded = () => this.#ended !== undefined;
    this.#misses = new MissHandler(
      MAX_READ,
      deadlineMs,
      (known, index, blob) => workers.send({ kind: "blob", image: known.number, index, blob }),
    );
    this.#images = new ImageRegistry(
      (message) => workers.send(message),
      (image) => this.#misses.failures.forget(image),
    );
    this.#notices = new Notices(() => hasEnded() ? undefined : workers.session);
    this.#shown = new ShownImages(this.#images, this.#notices, {
      mountpoint,
      isSingle: single !== undefined,
      hasEnded,
    });
  }

  get mountpoint(): string {
    return this.options.mountpoint;
  }

  /**
   * Mounts and starts serving.
   *
   * @throws {NydusGdError} "environment": no /dev/fuse, no libfuse3, no privilege; "busy": something is mounted there;
   * what `mayMount` rejects with
   */
  static async start(options: FuseSessionOptions): Promise<FuseSession> {
    const { workers, single } = options;
    if (!Number.isInteger(workers) || workers < 1 || workers > 16) {
      throw new NydusGdError("config", `Cannot start FUSE session: ${workers} workers`, {
        hint: "mount.workers = 1 … 16",
      });
    }
    if (single !== undefined) checkImageNumber(single.number);
    checkLibrary();
    using threads = new FuseWorkerSet(options.thread);
    const session = new FuseSession(options, await FuseConnection.mount(options, MAX_READ), threads);
    try {
      if (single !== undefined) session.#images.add(single.image, single.number);
      await session.#serve(REPLAY_NOTHING);
      return session;
    } catch (error) {
      await session.#end(MNT.FORCE | MNT.DETACH);
      throw error;
    }
  }

  /**
   * Continues the session of a process that was killed or that left it: same mount, same node ids. Requests in flight
   * are answered, and programs notice nothing.
   *
   * @param images all images that process served, requested only once they are needed; missing ones give ESTALE.
   * Devices have no names any more: EROFS has them open. With `options.single`: that one
   * @returns undefined if no keeper holds the session any more and the mount is dead
   * @throws {NydusGdError} as {@link start}. The session is left unchanged for another attempt
   */
  static async takeOver(
    options: FuseSessionOptions,
    images: () => Promise<readonly NumberedImage[]>,
  ): Promise<{ readonly session: FuseSession; readonly mounts: readonly ShownImage[] } | undefined> {
    const { mountpoint, stateDir } = options;
    checkLibrary();
    const connection = await FuseConnection.take(options);
    if (connection === undefined) return undefined;
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => connection.giveUp());
    using threads = new FuseWorkerSet(options.thread);
    const session = new FuseSession(options, connection, threads);
    const references = await takeReferences(stateDir);
    const entries = (await images()).map(({ image, number }) =>
      session.#images.add(image, number, references.get(registeredNumber(image, number)) ?? "unknown")
    );
    for (const entry of entries) if (entry.image.devices !== undefined) session.#images.hide(entry);
    cleanup.defer(() => session.#stopServing()); // a keeper still holds everything
    await session.#serve(connection.resend() ? REPLAY_NOTHING : REPLAY_ALL);
    cleanup.move();
    log.info("FUSE session taken over", { mountpoint, images: entries.length });
    return { session, mounts: entries.map((entry) => session.#shown.mountOf(entry)) };
  }

  /** Gives up the session that {@link takeOver} would continue: waiting programs get an error. */
  static async abandon(stateDir: string): Promise<void> {
    await FuseConnection.abandon(stateDir);
  }

  /** Serves while the keeper starts; the mount is announced only when both are running. */
  async #serve(replay: Replay): Promise<void> {
    const { connection, workers, options: { single, openRequests = false } } = this;
    const reports = new WorkerReports(this.#images, this.#misses, this.mountpoint);
    const common = {
      init: connection.init(),
      maxRead: MAX_READ,
      maxBackground: MAX_BACKGROUND,
      openRequests,
      rootImage: single?.number ?? 0,
      startSec: Math.floor(Date.now() / 1000),
    };
    const serving = workers.start({
      connection,
      common,
      replay,
      // a Worker that was started later may receive its first request before it is known here
      images: () => this.#images.messages(),
      onMessage: (worker, message) => reports.receive(worker, message),
    });
    const [served, kept] = await Promise.allSettled([serving, connection.keep()]);
    if (kept.status === "rejected") throw kept.reason;
    if (served.status === "rejected") throw served.reason;
  }

  /**
   * Makes `image` appear as `<mountpoint>/<image.name>`.
   *
   * @param imageNumber 1 … 2^23-1; never reused for another image, the same after a restart
   * @throws {NydusGdError} "exists" if the number or the name is taken
   */
  async add(image: MountableImage, imageNumber: number): Promise<ShownImage> {
    return await this.#shown.add(image, imageNumber);
  }

  /**
   * Stops serving and leaves the mount to a successor: the keeper holds it, and programs that read wait. When this
   * resolves the images are no longer used. The threads end with this process.
   */
  async leave(): Promise<void> {
    if (this.#ended !== undefined) return await this.#ended;
    this.#ended = Promise.resolve();
    await this.#stopServing();
    await this.#notices.settled();
    await leaveReferences(this.options.stateDir, this.#images.references());
    this.connection.leave();
    this.#images.releaseAll();
  }

  /** Stops the Workers; unanswered requests are left to a successor. */
  async #stopServing(): Promise<void> {
    this.#misses.abandon();
    if (!await this.workers.stop(DRAIN_TIMEOUT_MS)) {
      throw new NydusGdError("io", `Cannot leave ${this.mountpoint}: a thread is at work`);
    }
    await this.#misses.fail();
  }

  /** Totals of all Workers since the start. */
  counters(): ServeCounters {
    return this.workers.counters();
  }

  /** Number of threads that currently answer the kernel. */
  get threads(): number {
    return this.workers.serving;
  }

  /** Number of READs currently waiting for data. */
  get waitingReads(): number {
    return this.#misses.waiting;
  }

  /** Resolves when the mount is gone, no matter who unmounted it, and the session is closed. */
  get ended(): Promise<void> {
    return this.workers.ended().then(() => this.#end(undefined));
  }

  /**
   * Unmounts and ends the session.
   *
   * @param options.force unmount even while in use: waiting requests get EIO, users of open files ENOTCONN
   * @throws {NydusGdError} "busy" if in use and not forced; the session continues
   */
  async unmount(options: { readonly force?: boolean } = {}): Promise<void> {
    if (this.#ended === undefined) {
      try {
        await unmount(this.mountpoint, 0);
      } catch (error) {
        if (!hasCode(error, "busy") || !options.force) throw error;
        await this.#end(MNT.FORCE | MNT.DETACH);
      }
    }
    await this.#end(undefined);
  }

  /** Unmounts; a mount in use is forced, with a warning. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.unmount();
    } catch (error) {
      if (!hasCode(error, "busy")) throw error;
      log.warn("mount is in use, its users get errors from now on", { mountpoint: this.mountpoint });
      await this.unmount({ force: true });
    }
  }

  /** Ends everything, once. `flags`: how to unmount; undefined if the mount is gone already. */
  #end(flags: number | undefined): Promise<void> {
    return this.#ended ??= this.#close(flags);
  }

  async #close(flags: number | undefined): Promise<void> {
    if (flags !== undefined) {
      await this.#misses.fail();
      await unmount(this.mountpoint, flags);
    }
    if (!await this.workers.endWithin(DRAIN_TIMEOUT_MS)) {
      // another mount namespace or an overlay holds the file system: its users get ENOTCONN
      log.warn("file system is still in use elsewhere, cutting its connection", { mountpoint: this.mountpoint });
      await this.#misses.fail();
      await this.connection.cut();
      if (!await this.workers.endWithin(DRAIN_TIMEOUT_MS)) {
        throw new NydusGdError("io", `Cannot end FUSE session at ${this.mountpoint}: its threads did not end`);
      }
    }
    await this.#misses.fail();
    await this.#notices.settled();
    await this.workers.close();
    await this.connection.close();
    this.#images.releaseAll();
  }
}
