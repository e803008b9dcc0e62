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
 * /dev/fuse is opened and mounted here, requests pass through a file in memory (request_file.ts), a keeper holds both
 * as well (../keeper), and node ids are a function of image and inode (node_id.ts). So after this process was killed
 * or has left, {@link FuseSession.takeOver} continues with the same mount, and programs that read meanwhile wait.
 * FORGET only determines when a removed image may be released; the successor of a killed process does not know that.
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
import type { Fd } from "../../../ffi/fd.ts";
import { FUSE_ROOT_ID, hasResend, RESEND_NOTICE } from "../../../ffi/fuse_kernel.ts";
import { MNT } from "../../../ffi/sys_mount.ts";
import { write } from "../../../ffi/unistd.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { ImageMount, MountableImage } from "../image_mount.ts";
import { Keeper, keeperPath } from "../keeper/keeper.ts";
import { unmount } from "../unmount.ts";
import { deviceName } from "./device_tree.ts";
import { abortConnection, checkLibrary, findMount, mountFuse, readInit } from "./fuse_mount.ts";
import { ImageRegistry, isCounted, type RegisteredImage, registeredNumber } from "./image_registry.ts";
import { leaveReferences, takeReferences } from "./left_references.ts";
import { MissHandler } from "./miss_handler.ts";
import { checkImageNumber, nodeId } from "./node_id.ts";
import { Notices } from "./notices.ts";
import { RequestFile } from "./request_file.ts";
import type { FuseSessionOptions, NumberedImage, ServeCounters } from "./session_options.ts";
import type { FuseWorkerHandle } from "./worker_handle.ts";
import type { FromWorker } from "./worker_messages.ts";
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
/** The keeper's name for the request file. */
const REQUESTS = "fuse-requests";

/** A mounted, served FUSE session. */
export class FuseSession implements AsyncDisposable {
  readonly mountpoint: string;
  readonly #images: ImageRegistry;
  readonly #abort = new AbortController();
  readonly #misses: MissHandler;
  readonly #requests: RequestFile;
  readonly #devices: Fd[];
  readonly #connection: number;
  readonly #stateDir: string;
  readonly #single: boolean;
  readonly #notices = new Notices(() => this.#ended === undefined ? this.workers.session : undefined);
  #keeper: Keeper | undefined;
  #ended: Promise<void> | undefined;

  private constructor(
    options: FuseSessionOptions,
    private readonly workers: FuseWorkerSet,
    requests: RequestFile,
    devices: Fd[],
    connection: number,
  ) {
    this.mountpoint = options.mountpoint;
    this.#requests = requests;
    this.#devices = devices;
    this.#connection = connection;
    this.#stateDir = options.stateDir;
    this.#single = options.single !== undefined;
    this.#images = new ImageRegistry(
      (message) => this.workers.send(message),
      (image) => this.#misses.failures.forget(image),
    );
    this.#misses = new MissHandler(
      MAX_READ,
      options.deadlineMs,
      (known, index, blob) => this.workers.send({ kind: "blob", image: known.number, index, blob }),
      this.#abort.signal,
    );
  }

  /**
   * Mounts and starts serving.
   *
   * @throws {NydusGdError} "environment": no /dev/fuse, no libfuse3, no privilege; "busy": something is mounted there;
   * what `mayMount` rejects with
   */
  static async start(options: FuseSessionOptions): Promise<FuseSession> {
    const { mountpoint, workers, single } = options;
    if (!Number.isInteger(workers) || workers < 1 || workers > 16) {
      throw new NydusGdError("config", `Cannot start FUSE session: ${workers} workers`, {
        hint: "mount.workers = 1 … 16",
      });
    }
    if (single !== undefined) checkImageNumber(single.number);
    checkLibrary();
    using threads = new FuseWorkerSet();
    const requests = RequestFile.create(workers);
    try {
      await options.mayMount;
      const { devices, connection } = mountFuse(mountpoint, workers, MAX_READ);
      const session = new FuseSession(options, threads, requests, devices, connection);
      try {
        readInit(devices[0] as Fd, requests.init);
        if (single !== undefined) session.#images.add(single.image, single.number);
        await session.#serve(options, false);
        return session;
      } catch (error) {
        await session.#end(MNT.FORCE | MNT.DETACH);
        throw error;
      }
    } catch (error) {
      requests[Symbol.dispose]();
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
  ): Promise<{ readonly session: FuseSession; readonly mounts: readonly ImageMount[] } | undefined> {
    const { mountpoint, stateDir } = options;
    checkLibrary();
    const connection = findMount(mountpoint);
    if (connection === undefined) return undefined;
    const kept = await Keeper.take(keeperPath(stateDir));
    if (kept === undefined) return undefined;
    const { [REQUESTS]: file, ...others } = Object.fromEntries(kept);
    const devices = Object.values(others);
    try {
      if (file === undefined) throw new NydusGdError("unsupported", "Cannot take over requests: keeper has no file");
      using threads = new FuseWorkerSet();
      const requests = RequestFile.reopen(file, devices.length);
      const session = new FuseSession(options, threads, requests, devices, connection);
      const references = await takeReferences(stateDir);
      const entries = (await images()).map(({ image, number }) =>
        session.#images.add(image, number, references.get(registeredNumber(image, number)) ?? "unknown")
      );
      for (const entry of entries) if (entry.image.devices !== undefined) session.#images.hide(entry);
      await session.#serve(options, true);
      log.info("FUSE session taken over", { mountpoint, images: entries.length });
      return { session, mounts: entries.map((entry) => session.#mountOf(entry)) };
    } catch (error) {
      for (const device of devices) device[Symbol.dispose]();
      throw error;
    }
  }

  /** Gives up the session that {@link takeOver} would continue: waiting programs get an error. */
  static async abandon(stateDir: string): Promise<void> {
    await Keeper.discard(keeperPath(stateDir));
  }

  /** Serves while the keeper starts; the mount is announced only when both are running. */
  async #serve(options: FuseSessionOptions, takenOver: boolean): Promise<void> {
    const { single, stateDir } = options;
    const common = {
      init: this.#requests.storedInit(),
      maxRead: MAX_READ,
      maxBackground: MAX_BACKGROUND,
      openRequests: options.openRequests ?? false,
      rootImage: single?.number ?? 0,
      startSec: Math.floor(Date.now() / 1000),
      replay: takenOver && !this.#resend(),
    };
    const serving = this.workers.start({
      devices: this.#devices,
      requests: this.#requests,
      common,
      // a Worker that was started later may receive its first request before it is known here
      images: () => this.#images.messages(),
      onMessage: (worker, message) => this.#onMessage(worker, message),
    });
    const kept = new Map(this.#devices.map((device, index) => [`fuse-${index}`, device]));
    const keeping = Keeper.start(keeperPath(stateDir), kept.set(REQUESTS, this.#requests.fd));
    const [served, keeper] = await Promise.allSettled([serving, keeping]);
    if (keeper.status === "rejected") {
      if (takenOver) await this.#stopServing(); // the previous keeper still holds everything
      throw keeper.reason;
    }
    this.#keeper = keeper.value;
    if (served.status === "rejected") throw served.reason;
  }

  /** Has the kernel resend requests that were read but not answered. Returns false if it cannot. */
  #resend(): boolean {
    if (!hasResend(this.#requests.storedInit())) return false;
    write(this.#devices[0] as Fd, RESEND_NOTICE);
    this.#requests.clearRecords();
    return true;
  }

  /**
   * Makes `image` appear as `<mountpoint>/<image.name>`.
   *
   * @param imageNumber 1 … 2^23-1; never reused for another image, the same after a restart
   * @throws {NydusGdError} "exists" if the number or the name is taken
   */
  async add(image: MountableImage, imageNumber: number): Promise<ImageMount> {
    if (this.#single) throw new NydusGdError("internal", "Cannot add image: the session serves one image as its root");
    if (this.#ended !== undefined) throw new NydusGdError("internal", "Cannot add image: the session has ended");
    const entry = this.#images.add(image, imageNumber);
    await this.#notices.invalidateRoot();
    return this.#mountOf(entry);
  }

  #mountOf(entry: RegisteredImage): ImageMount {
    return {
      fsDriver: "fuse",
      path: this.#single ? this.mountpoint : `${this.mountpoint}/${entry.image.name}`,
      isEndless: !isCounted(entry),
      isSeen: () => this.#ended === undefined,
      released: entry.released.promise,
      [Symbol.asyncDispose]: () => this.#remove(entry),
    };
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
    await leaveReferences(this.#stateDir, this.#images.references());
    this.#keeper?.leave();
    this.#images.releaseAll();
  }

  /** Stops the Workers; unanswered requests are left to a successor. */
  async #stopServing(): Promise<void> {
    this.#misses.tasks.abandon();
    if (!await this.workers.stop(DRAIN_TIMEOUT_MS)) {
      throw new NydusGdError("io", `Cannot leave ${this.mountpoint}: a thread is at work`);
    }
    await this.#failMisses();
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
    return this.#misses.tasks.running;
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
      await this.#failMisses();
      await unmount(this.mountpoint, flags);
    }
    if (!await this.workers.endWithin(DRAIN_TIMEOUT_MS)) {
      // another mount namespace or an overlay holds the file system: its users get ENOTCONN
      log.warn("file system is still in use elsewhere, cutting its connection", { mountpoint: this.mountpoint });
      await this.#failMisses();
      await abortConnection(this.#connection);
      if (!await this.workers.endWithin(DRAIN_TIMEOUT_MS)) {
        throw new NydusGdError("io", `Cannot end FUSE session at ${this.mountpoint}: its threads did not end`);
      }
    }
    await this.#failMisses();
    await this.#notices.settled();
    await this.workers.close();
    await this.#keeper?.[Symbol.asyncDispose]();
    for (const device of this.#devices) device[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
    this.#images.releaseAll();
  }

  /** Answers every waiting READ with EIO. */
  async #failMisses(): Promise<void> {
    this.#abort.abort(new NydusGdError("interrupted", "Cannot read: the mount ends"));
    await this.#misses.tasks.settled();
  }

  async #remove(entry: RegisteredImage): Promise<void> {
    if (this.#ended !== undefined || !this.#images.hide(entry)) return;
    const { name, tree, devices = [] } = entry.image;
    const folder = nodeId(entry.number, tree.rootIno);
    // a device in use would keep its name, and its reference, below a folder that has none
    for (const index of devices.keys()) await this.#notices.invalidateName(folder, deviceName(index));
    await this.#notices.invalidateName(FUSE_ROOT_ID, name);
    await this.#notices.invalidateRoot();
    this.#images.releaseIfUnused(entry);
  }

  #onMessage(worker: FuseWorkerHandle, message: FromWorker): void {
    switch (message.kind) {
      case "miss":
        this.#misses.handle(this.#images.get(message.image), message, () => worker.release(message.slot));
        break;
      case "reached":
        this.#images.get(message.image)?.image.blobs[message.index]?.reached?.(message.chunk);
        break;
      case "unreferenced":
        this.#images.releaseIfUnused(this.#images.get(message.image));
        break;
      case "damage": {
        const known = this.#images.get(message.image);
        if (known !== undefined) this.#misses.failures.damaged(known, message.operation, message.ino, message.message);
        break;
      }
      case "ended":
        if (message.message !== undefined) {
          log.error("FUSE thread ended", { mountpoint: this.mountpoint, cause: message.message });
        }
        break;
    }
  }
}
