/**
 * Images as EROFS on the files of the cache: the kernel reads them directly and asks us about data that may be missing.
 *
 * ```
 *  processes ─► EROFS ── names, attributes, page cache ── all in the kernel
 *                 │ blocks that are not in memory
 *                 ▼
 *  <cache>/<blob>.blob.data ── pre-content event, while it is incomplete ─► EventServer
 * ```
 * Marks are set before the mount, as files opened earlier generate no events. A complete blob has no mark, and its
 * reads do not involve this process.
 *
 * Fail-open: when every holder of the group has died, the kernel reads holes of the sparse files as zeros. So a keeper
 * holds the group as well (../keeper), from before the first mount. A successor that finds all holders dead watches the
 * same files again, drops what the page cache may have kept meanwhile, and reports it: {@link FanotifyImages.resume}.
 *
 * On exit, this program waits until super blocks are gone. The files of those still in use are truncated, so that reads
 * of what is not in the page cache are errors.
 *
 * @module
 */
import { AT } from "../../../ffi/fcntl.ts";
import { ignoreMount, watchedInodes } from "../../../ffi/fanotify.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { OPEN_TREE, openTree } from "../../../ffi/mount_api.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { ftruncate } from "../../../ffi/unistd.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import { COMPLETE_READ_AHEAD_KB, isErofsAt, READ_AHEAD_KB, setReadAhead } from "../erofs/erofs_mount.ts";
import { ErofsTasks, imagePath } from "../erofs/erofs_tasks.ts";
import type { PlacedImage, Resumed } from "../erofs/placed_image.ts";
import { recomputeDevices } from "../erofs/recompute_devices.ts";
import { SuperBlocks } from "../erofs/super_blocks.ts";
import type { ImageMount } from "../image_mount.ts";
import { fanotifyKeeperPath, Keeper } from "../keeper/keeper.ts";
import { openingDeadline } from "../reads/open_blobs.ts";
import type { UnmountWatch } from "../unmount/unmount_watch.ts";
import { type EventGroup, keptOf, newGroup, takeKept } from "./event_group.ts";
import { EventServer } from "./event_server.ts";
import { type DeviceFiles, type ErofsDevice, openDevices } from "./open_devices.ts";
import { type NamedFile, replacements } from "./replaced_files.ts";
import { hasUnseenUsers, inodesOf } from "./unseen_users.ts";
import { type CopyFolder, SharedDevice, type WatchedDevice } from "./watched_device.ts";

const log = logger("mount", "fanotify");

/** Options of {@link FanotifyImages}. */
export interface FanotifyOptions {
  /** An existing directory of ours, on a file system that supports EROFS on files. */
  readonly stateDir: string;
  /** Maximum wait of a program for data that are not cached; then it gets EIO. */
  readonly deadlineMs: number;
  /** The mount through which the cache opens its files: `BlobCache.ownMount`. */
  readonly cacheMount: Fd | undefined;
}

/** Whether a group was held from the end of an earlier process on: reads that nobody is asked about may show zeros. */
type Interim = "guarded" | "unguarded";

/** The group and what serves its events. */
interface WatchedGroup extends EventGroup {
  readonly copies: CopyFolder;
  readonly server: EventServer;
  readonly keeper: Keeper;
  /** The cache folder, by a mount whose accesses cause no events. */
  readonly cacheMount: Fd;
}

/** Images mounted as EROFS on watched cache files. Disposing unmounts them all. */
export class FanotifyImages implements AsyncDisposable {
  readonly #server: EventServer;
  /** Each with its devices. */
  readonly #superBlocks: SuperBlocks<readonly ErofsDevice[]>;

  private constructor(
    private readonly options: FanotifyOptions,
    watch: UnmountWatch,
    private readonly watched: WatchedGroup,
  ) {
    this.#server = watched.server;
    const close = (devices: readonly ErofsDevice[]) => this.#close(devices);
    this.#superBlocks = new SuperBlocks(watch, { fsDriver: "erofs-fanotify", log, close });
  }

  /**
   * Creates a group and starts serving.
   *
   * @throws {NydusGdError} "environment"; {SyscallError} EINVAL on kernels without pre-content events
   */
  static async start(options: FanotifyOptions, watch: UnmountWatch): Promise<FanotifyImages> {
    const images = await FanotifyImages.#open(options, watch, newGroup());
    await images.#server.serve();
    return images;
  }

  /**
   * Takes over the mounts of a process that was killed or has left. If a keeper holds the group, readers notice
   * nothing. If all holders died, the same files are watched again; reads meanwhile may have returned zeros, and the
   * mounts say so.
   *
   * @param images returns what that process had mounted; called when needed
   * @returns a mount for each image, undefined if it cannot be taken over or is not in use any more; undefined as a
   * whole if nothing is left, as after a reboot
   */
  static async resume(
    options: FanotifyOptions,
    watch: UnmountWatch,
    images: () => Promise<readonly PlacedImage[]>,
  ): Promise<Resumed<FanotifyImages> | undefined> {
    const record = fanotifyKeeperPath(options.stateDir);
    if (!await Keeper.isOfThisBoot(record)) return undefined;
    const kept = await takeKept(record);
    const before = await images();
    if (kept === undefined && before.length === 0) return undefined;
    const held = kept ?? newGroup();
    const resumed = await FanotifyImages.#open(options, watch, held);
    const gone = await resumed.#goneOf(before); // before any of their files is opened here
    const interim = kept === undefined ? "unguarded" : "guarded";
    const marked = watchedInodes(held.group);
    const damaged: string[] = [];
    const opened = await Promise.all(
      before.map((placed) => gone.has(placed) ? undefined : resumed.#reopen(placed, interim, damaged)),
    );
    const named = opened.flatMap((devices) => watchedOf(devices ?? []).map(inodeOf));
    const isReplaced = replacements(marked, [...named, ...await resumed.#inodesOf(gone)]);
    const mounts = await Promise.all(before.map(async (placed, index) => {
      const devices = opened[index];
      return devices && await resumed.#takeOver(placed, devices, isReplaced, interim);
    }));
    if (interim === "unguarded") {
      await tellUnwatched(before.filter((one, index) => !gone.has(one) && (mounts[index]?.isSuspect ?? true)));
    }
    await resumed.#server.serve();
    log.info("fanotify group taken over", { images: before.length, guarded: interim === "guarded" });
    return { images: resumed, mounts, damaged };
  }

  /** Gives up what {@link resume} would take over. Its mounts must be gone. */
  static async abandon(stateDir: string): Promise<void> {
    await Keeper.discard(fanotifyKeeperPath(stateDir));
    await removeFiles(stateDir);
  }

  static async #open(
    options: FanotifyOptions,
    watch: UnmountWatch,
    { group, events }: EventGroup,
  ): Promise<FanotifyImages> {
    const { stateDir, deadlineMs, cacheMount } = options;
    await using cleanup = new AsyncDisposableStack();
    cleanup.use(group);
    cleanup.use(events);
    if (cacheMount === undefined) {
      throw new NydusGdError("environment", "Cannot watch cache: it has no mount of its own, which needs root");
    }
    ignoreMount(group, cacheMount);
    const path = copiesPath(stateDir);
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    const copies = { path, ownMount: cleanup.use(openTree(AT.FDCWD, path, OPEN_TREE.CLONE)) };
    ignoreMount(group, copies.ownMount);
    const server = cleanup.adopt(new EventServer(group, events, deadlineMs), (server) => server.end());
    const keeper = await Keeper.start(fanotifyKeeperPath(stateDir), keptOf({ group, events }));
    cleanup.move();
    return new FanotifyImages(options, watch, { group, events, copies, server, keeper, cacheMount });
  }

  /**
   * Mounts an image.
   *
   * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "environment", "io", and errors of
   * the backend when a blob cannot be opened
   */
  async add(placed: PlacedImage): Promise<ImageMount> {
    const { image, target } = placed;
    await using cleanup = new AsyncDisposableStack();
    using tasks = new ErofsTasks();
    const path = imagePath(this.options.stateDir, image);
    const isUnwatched = (fd: number) => !this.#server.isWatched(fstat(fd));
    const devices = cleanup.adopt(
      await this.#openDevices(placed, await tasks.keep(image.bootstrap, path), ({ dataFd }) => isUnwatched(dataFd)),
      (opened) => this.#close(opened),
    );
    const settled = this.#watchAll(devices);
    const request = { image: path, devices: devices.map((device) => device.path), target };
    await tasks.mount({ ...request, readAheadKb: READ_AHEAD_KB });
    cleanup.move();
    return this.#mountOf(placed, devices, settled);
  }

  /** Images that were unmounted while nobody served them, and whose super block is gone. */
  async #goneOf(before: readonly PlacedImage[]): Promise<ReadonlySet<PlacedImage>> {
    const gone = new Set<PlacedImage>();
    for (const placed of before) {
      if (isErofsAt(placed.target)) continue;
      if (!await hasUnseenUsers(placed.image, this.watched.cacheMount, this.watched.copies.ownMount)) gone.add(placed);
    }
    return gone;
  }

  /** Inodes of the files that have the names of these images' files. */
  async #inodesOf(images: Iterable<PlacedImage>): Promise<bigint[]> {
    const { cacheMount, copies } = this.watched;
    const inodes = Array.from(images, ({ image }) => inodesOf(image, cacheMount, copies.ownMount));
    return (await Promise.allSettled(inodes)).flatMap((found) => found.status === "fulfilled" ? found.value : []);
  }

  /**
   * Opens the devices of an image of an earlier process; undefined, and logged, if that fails: its readers get errors.
   *
   * @param damaged gets its mount point if the kernel reads a damaged file
   */
  async #reopen(placed: PlacedImage, interim: Interim, damaged: string[]): Promise<ErofsDevice[] | undefined> {
    try {
      const { devices: tables, isDamaged } = await recomputeDevices(placed.image, this.options.stateDir);
      if (isDamaged && isErofsAt(placed.target)) damaged.push(placed.target);
      return await this.#openDevices(placed, tables, () => false); // a file that is complete by now may still have a mark
    } catch (error) {
      return lose(placed, interim, messageOf(error));
    }
  }

  /** Takes over an image if these are still the files that the kernel reads; undefined, and logged, if not. */
  async #takeOver(
    placed: PlacedImage,
    devices: readonly ErofsDevice[],
    isReplaced: (files: readonly NamedFile[]) => boolean,
    interim: Interim,
  ): Promise<ImageMount | undefined> {
    let reason = "other files have the names of those that the kernel reads";
    try {
      if (!isReplaced(sharedFiles(devices))) return this.#restore(placed, devices, interim);
    } catch (error) {
      reason = messageOf(error);
    }
    await this.#close(devices);
    return lose(placed, interim, reason);
  }

  /** Takes over an image of an earlier process; undefined, and logged, if that fails. */
  #restore(placed: PlacedImage, devices: readonly ErofsDevice[], interim: Interim): ImageMount | undefined {
    try {
      const settled = this.#watchAll(devices);
      // what is complete now was complete before: a process that watched wrote the chunks
      const isIncomplete = watchedOf(devices).some(({ file }) => this.#server.isWatched(file));
      return { ...this.#mountOf(placed, devices, settled), isSuspect: interim === "unguarded" && isIncomplete };
    } catch (error) {
      return lose(placed, interim, messageOf(error));
    }
  }

  async #openDevices(
    { image, number }: PlacedImage,
    tables: readonly DeviceTable[],
    mayBeUnwatched: DeviceFiles["mayBeUnwatched"],
  ): Promise<ErofsDevice[]> {
    const files = { copies: this.watched.copies, mayBeUnwatched };
    using deadline = openingDeadline(image, this.options.deadlineMs);
    return await openDevices({ number, image, blobs: [] }, tables, files, deadline.signal);
  }

  /** Resolves when the kernel no longer asks about any of the devices. */
  #watchAll(devices: readonly ErofsDevice[]): Promise<unknown> {
    return Promise.all(watchedOf(devices).map((device) => this.#server.watch(device).settled));
  }

  /** @param settled resolves when the kernel no longer asks about any of the devices */
  #mountOf(placed: PlacedImage, devices: readonly ErofsDevice[], settled: Promise<unknown>): ImageMount {
    const mount = this.#superBlocks.add(placed, devices);
    const { image: { name }, target } = placed;
    settled.then(() => this.#onComplete(placed)).catch((error) =>
      log.error("read-ahead of image not raised", { image: name, target, error: messageOf(error) })
    );
    return mount;
  }

  /** All data are local: the kernel no longer asks, and reading ahead costs no fetch. */
  #onComplete({ image, target }: PlacedImage): void {
    log.info("image is complete, the kernel reads it by itself", { image: image.name });
    if (!this.#superBlocks.hasEnded && isErofsAt(target)) setReadAhead(target, COMPLETE_READ_AHEAD_KB);
  }

  async #close(devices: readonly ErofsDevice[]): Promise<void> {
    for (const device of watchedOf(devices)) this.#server.forget(device);
    for (const device of devices) await device[Symbol.asyncDispose]();
  }

  /** Counters of the event server. */
  counters(): ReturnType<EventServer["counters"]> {
    return this.#server.counters();
  }

  /** Number of readers waiting for data. */
  get waiting(): number {
    return this.#server.waiting;
  }

  /** Leaves everything to a successor: the keeper holds the group, and programs that read wait. */
  async leave(): Promise<void> {
    if (!this.#superBlocks.leave()) return;
    await this.#server.leave();
    this.watched.keeper.leave();
    this.#superBlocks.release();
  }

  /** Unmounts everything and ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!await this.#superBlocks.unmountAll()) return;
    const { group, events, copies, keeper } = this.watched;
    for (const { fd, file } of watchedOf(this.#superBlocks.parts.flat())) {
      if (this.#server.isWatched(file)) ftruncate(fd, 0);
    }
    await this.#server.end();
    await keeper[Symbol.asyncDispose]();
    group[Symbol.dispose]();
    for (const device of this.#superBlocks.parts.flat()) await device[Symbol.asyncDispose]();
    this.#superBlocks.release();
    events[Symbol.dispose]();
    copies.ownMount[Symbol.dispose]();
    await removeFiles(this.options.stateDir);
  }
}

/** Logs that an image of an earlier process cannot be taken over. */
function lose({ image }: PlacedImage, interim: Interim, error: string): undefined {
  log.error(`image is lost, its readers ${interim === "guarded" ? "get errors" : "may get zeros"}`, {
    image: image.name,
    error,
  });
}

/** The files of an image that were not made for it alone: nobody but this program replaces those. */
function sharedFiles(devices: readonly ErofsDevice[]): NamedFile[] {
  return watchedOf(devices).filter((device) => device instanceof SharedDevice)
    .map((device) => ({ inode: inodeOf(device), isComplete: () => device.settle() }));
}

function inodeOf({ file }: WatchedDevice): bigint {
  return BigInt(file.ino);
}

function watchedOf(devices: readonly ErofsDevice[]): WatchedDevice[] {
  return devices.flatMap(({ watched }) => watched ?? []);
}

/** Says which images nobody watched while they were read, and drops what the page cache may have of them. */
async function tellUnwatched(images: readonly PlacedImage[]): Promise<void> {
  if (images.length === 0) return;
  await dropPages();
  const names = images.map(({ image }) => image.name);
  log.error("images were not watched for a while, their users may have read zeros", { images: names });
}

/** Drops page cache if permitted; pages mapped by running programs stay. */
async function dropPages(): Promise<void> {
  try {
    await Deno.writeTextFile("/proc/sys/vm/drop_caches", "1");
  } catch (error) {
    log.error("page cache not dropped: what was read as zeros stays so until it is", { error: messageOf(error) });
  }
}

async function removeFiles(stateDir: string): Promise<void> {
  await ignore(Deno.errors.NotFound, Deno.remove(copiesPath(stateDir), { recursive: true }));
}

function copiesPath(stateDir: string): string {
  return `${stateDir}/copies`;
}
