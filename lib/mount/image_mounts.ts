/**
 * Mounts images by the chosen data path, and holds what serves them: the main module of lib/mount.
 *
 * ```
 * add(image) ──► erofs-fanotify ──► EROFS at <erofsDir>/<image.name>, on files of the cache
 *            ──► erofs-fscache ───► EROFS at <erofsDir>/<image.name>, on the kernel's cache
 *            ──► erofs-fuse ──────► EROFS at <erofsDir>/<image.name>, on device files in the session
 *                    │ unsupported for this image
 *                    ▼
 *                  fuse ──────────► <mountpoint>/<image.name>
 * ```
 * Each server (FUSE session, fanotify group, cachefiles device) starts with the first image that needs it.
 *
 * What the kernel sees: an image never changes, so it keeps names, attributes and pages for good. What it does not have
 * it asks for, and the program that reads waits. A Worker answers from the cache file when every chunk is there
 * (reads/cached_read.ts); otherwise the main thread has the chunks fetched first (reads/missing_data.ts). A request
 * gets all of its data or an errno: EIO if data cannot be obtained or the image is damaged, ESTALE if the image is gone.
 *
 * Three ways into a deadlock, which all code here has to avoid:
 *
 * - The process that serves a mount must not touch it, not even by a stat: the request would wait for the thread that
 *   made it. ffi/mountinfo.ts tells what is mounted. An unmount may wait for answers to requests, so another process
 *   makes it (unmount/).
 * - A Worker that blocks in a system call receives no events: messages to it are posted (reads/posted.ts).
 * - The keeper's descriptors can be inherited while it starts: another process that is started meanwhile would hold the
 *   mount for as long as it lives (keeper/keeper.ts).
 *
 * @module
 */
import { type MountEntry, mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { ignore, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type DataPathChoice, type FsDriver, isRefusal } from "./data_path.ts";
import { FanotifyImages, type FanotifyOptions } from "./fanotify/fanotify_images.ts";
import { FscacheImages, type FscacheOptions } from "./fscache/fscache_images.ts";
import { erofsMountOf, mountErofsFuse, onRecomputedDevices } from "./erofs/erofs_fuse.ts";
import { EROFS_TYPE, isErofsAt } from "./erofs/erofs_mount.ts";
import type { PlacedImage, Resumed } from "./erofs/placed_image.ts";
import type { OfferedImage, OfferName } from "./fscache/offers.ts";
import { abortConnection, findMount, FUSE_TYPE } from "./fuse/fuse_mount.ts";
import { FuseSession, type FuseSessionOptions, type NumberedImage, type ServeCounters } from "./fuse/session.ts";
import type { ShownImage } from "./fuse/shown_images.ts";
import type { ImageMount, MountableImage } from "./image_mount.ts";
import { NeededServer } from "./needed_server.ts";
import { unmount } from "./unmount/unmount.ts";
import { UnmountWatch } from "./unmount/unmount_watch.ts";

const log = logger("mount");

/** Options of {@link ImageMounts}. */
export interface ImageMountsOptions
  extends
    Omit<FuseSessionOptions, "single" | "openRequests">,
    Pick<FanotifyOptions, "cacheMount">,
    Pick<FscacheOptions, "cacheDir" | "minFree" | "offered"> {
  readonly dataPath: DataPathChoice;
  /** Parent directory of the EROFS mount points, which are created on demand. */
  readonly erofsDir: string;
}

/** The directories alone. */
export type ImageMountsPlaces = Pick<ImageMountsOptions, "mountpoint" | "erofsDir" | "stateDir">;

/** An image that a previous process had mounted. */
export interface MountedBefore extends NumberedImage {
  readonly fsDriver: FsDriver;
}

/** Counters of all data paths. */
export interface MountCounters extends ServeCounters {
  /** Reads that failed because the kernel could not ask about them. */
  readonly denied: number;
}

const NOTHING_SERVED: ServeCounters = { requests: 0, reads: 0, readBytes: 0, misses: 0, threadFailures: 0 };

/** All mounted images and what serves them. Disposing unmounts them all, by force if they are in use. */
export class ImageMounts implements AsyncDisposable {
  readonly #watch = new UnmountWatch();
  readonly #ended = Promise.withResolvers<void>();
  readonly #fuse = new NeededServer(
    () => FuseSession.start({ ...this.options, openRequests: asksOpens(this.options) }),
    (session) => this.#followFuse(session),
  );
  readonly #fanotify = new NeededServer(() => FanotifyImages.start(this.options, this.#watch));
  readonly #fscache = new NeededServer(() => FscacheImages.start(this.options, this.#watch));

  private constructor(private readonly options: ImageMountsOptions) {}

  /** @throws {NydusGdError} as {@link FuseSession.start}, {@link FanotifyImages.start}, {@link FscacheImages.start} */
  static async start(options: ImageMountsOptions): Promise<ImageMounts> {
    const mounts = new ImageMounts(options);
    try {
      const { fsDriver } = options.dataPath;
      if (fsDriver === "erofs-fanotify") await mounts.#fanotify.need();
      else if (fsDriver === "erofs-fscache") await mounts.#fscache.need();
      else await mounts.#fuse.need();
      return mounts;
    } catch (error) {
      await mounts[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Takes over the mounts of a process that was killed or has left.
   *
   * @param images images of that process, each with its data path
   * @returns a mount for each image, undefined if it was unmounted or nothing holds it any more; undefined as a whole
   * if there is nothing to take over: what was left has been removed, as by {@link abandon}
   * @throws {NydusGdError} as {@link FuseSession.takeOver}
   */
  static async takeOver(
    options: ImageMountsOptions,
    images: () => Promise<readonly MountedBefore[]>,
  ): Promise<{ readonly session: ImageMounts; readonly mounts: readonly (ImageMount | undefined)[] } | undefined> {
    const mounts = new ImageMounts(options);
    let asked: Promise<readonly MountedBefore[]> | undefined;
    const before = () => asked ??= images();
    const byFuse = await mounts.#takeOverFuse(before);
    const byFanotify = await mounts.#takeOverErofs(
      "erofs-fanotify",
      mounts.#fanotify,
      (placed) => FanotifyImages.resume(options, mounts.#watch, placed),
      before,
    );
    const byFscache = await mounts.#takeOverErofs(
      "erofs-fscache",
      mounts.#fscache,
      (placed) => FscacheImages.resume(options, mounts.#watch, placed),
      before,
    );
    if (byFuse === undefined && byFanotify === undefined && byFscache === undefined) {
      await mounts.#watch[Symbol.asyncDispose]();
      warnOfLost(await ImageMounts.abandon(options));
      return undefined;
    }
    const byErofs = new Map([...byFanotify ?? [], ...byFscache ?? []]);
    if (byFuse === undefined) warnOfLost(await abandonFuse(options, (target) => byErofs.has(target)));
    const found = (one: MountedBefore) => byFuse?.get(one) ?? byErofs.get(mounts.#targetOf(one));
    return { session: mounts, mounts: (await before()).map(found) };
  }

  /** Removes what a previous process left: its readers get errors. Returns the number of mounts. */
  static async abandon(places: ImageMountsPlaces): Promise<number> {
    const lost = await abandonFuse(places, () => false);
    await FanotifyImages.abandon(places.stateDir);
    await FscacheImages.abandon(places.stateDir);
    return lost;
  }

  /** Leaves every mount to a successor, see {@link FuseSession.leave}. */
  async leave(): Promise<void> {
    await this.#fuse.running?.leave();
    await this.#fanotify.running?.leave();
    await this.#fscache.running?.leave();
    await this.#watch[Symbol.asyncDispose]();
  }

  /** Mount point of the FUSE session, if there is one. */
  get mountpoint(): string {
    return this.options.mountpoint;
  }

  /** Resolves when the FUSE session that the data path needs has ended, whoever unmounted it, or on disposal. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Offers an image for others to mount from the kernel's cache by that name, independent of the data path used here.
   *
   * @throws {NydusGdError} as {@link FscacheImages.start} and Offers.add
   */
  async offer(offered: OfferedImage): Promise<void> {
    await (await this.#fscache.need()).offers.add(offered);
  }

  /** Withdraws an offer; resolves when nobody has the image mounted. See Offers.withdraw. */
  async withdraw(name: OfferName): Promise<void> {
    await this.#fscache.running?.offers.withdraw(name);
  }

  /** Number of offered images. */
  get offers(): number {
    return this.#fscache.running?.offers.count ?? 0;
  }

  /** See {@link FscacheImages.emptyCache}; undefined if the kernel's cache is not in use. */
  async emptyKernelCache(): Promise<number | undefined> {
    return await this.#fscache.running?.emptyCache();
  }

  /** Number of reads waiting for data. */
  get waitingReads(): number {
    return (this.#fuse.running?.waitingReads ?? 0) + (this.#fanotify.running?.waiting ?? 0) +
      (this.#fscache.running?.waiting ?? 0);
  }

  /** Counters of requests served so far. */
  counters(): MountCounters {
    const fuse = this.#fuse.running?.counters() ?? NOTHING_SERVED;
    const { events = 0, hits = 0, misses = 0, denied = 0, threadFailures = 0 } = this.#fanotify.running?.counters() ??
      {};
    const { messages = 0, reads = 0, failures = 0 } = this.#fscache.running?.counters() ?? {};
    return {
      ...fuse,
      requests: fuse.requests + events + messages,
      reads: fuse.reads + hits,
      misses: fuse.misses + misses + reads,
      denied,
      threadFailures: fuse.threadFailures + threadFailures + failures,
    };
  }

  /**
   * Mounts an image.
   *
   * @param number as for {@link FuseSession.add}
   * @throws {NydusGdError} when it cannot be mounted, or not by the requested data path
   */
  async add(image: MountableImage, number: number): Promise<ImageMount> {
    const { fsDriver, named } = this.options.dataPath;
    if (fsDriver === "fuse") return await (await this.#fuse.need()).add(image, number);
    try {
      return await this.#addErofs(image, number, fsDriver);
    } catch (error) {
      if (named || !isRefusal(error)) throw error;
      const mount = await (await this.#fuse.need()).add(image, number);
      const refusal = messageOf(error);
      log.warn("image is served by fuse", { image: image.name, reason: refusal });
      return { ...mount, refusal };
    }
  }

  async #addErofs(image: MountableImage, number: number, fsDriver: FsDriver): Promise<ImageMount> {
    const target = this.#targetOf({ image });
    // left by a process that was killed before it recorded the mount, or whose image could not be taken over
    if (isErofsAt(target)) await unmount(target, MNT.DETACH);
    await Deno.mkdir(target, { recursive: true, mode: 0o700 });
    try {
      return withFolder(await this.#mountErofs({ image, number, target }, fsDriver));
    } catch (error) {
      await removeFolder(target);
      throw error;
    }
  }

  async #mountErofs(placed: PlacedImage, fsDriver: FsDriver): Promise<ImageMount> {
    if (fsDriver === "erofs-fanotify") return await (await this.#fanotify.need()).add(placed);
    if (fsDriver === "erofs-fscache") return await (await this.#fscache.need()).add(placed);
    const { stateDir, deadlineMs } = this.options;
    const options = { stateDir, deadlineMs, mayUseCacheFiles: this.#fanotify.running === undefined };
    return await mountErofsFuse(placed, () => this.#fuse.need(), this.#watch, options);
  }

  #targetOf({ image }: Pick<NumberedImage, "image">): string {
    return `${this.options.erofsDir}/${image.name}`;
  }

  #followFuse(session: FuseSession): void {
    session.ended.then(() => {
      // if images bypass the session, it is restarted when an image needs it
      const { fsDriver } = this.options.dataPath;
      if (fsDriver === "erofs-fanotify" || fsDriver === "erofs-fscache") this.#fuse.forget();
      else this.#ended.resolve();
    }, this.#ended.reject);
  }

  /** Takes over the images served by the FUSE session; undefined if nothing holds the session. */
  async #takeOverFuse(
    before: () => Promise<readonly MountedBefore[]>,
  ): Promise<Map<MountedBefore, ImageMount> | undefined> {
    const isThere = (one: MountedBefore) =>
      one.fsDriver === "fuse" || (one.fsDriver === "erofs-fuse" && isErofsAt(this.#targetOf(one)));
    let there: readonly MountedBefore[] = [];
    const damaged: string[] = [];
    const numbered = async () => {
      there = (await before()).filter(isThere);
      return await Promise.all(there.map(async (one) => {
        if (one.fsDriver === "fuse") return one;
        const { image, isDamaged } = await onRecomputedDevices(one.image, this.options.stateDir);
        if (isDamaged) damaged.push(this.#targetOf(one));
        return { number: one.number, image };
      }));
    };
    const taken = await FuseSession.takeOver({ ...this.options, openRequests: asksOpens(this.options) }, numbered);
    if (taken === undefined) return undefined;
    const { session, mounts } = taken;
    this.#fuse.adopt(session);
    const mountOf = (one: MountedBefore, served: ShownImage) =>
      one.fsDriver === "fuse" ? served : withFolder(erofsMountOf(served, session, this.#watch, this.#targetOf(one)));
    const byImage = new Map(there.map((one, index) => [one, mountOf(one, mounts[index] as ShownImage)]));
    for (const target of damaged) await setAside(target);
    return byImage;
  }

  /** Takes over the images that bypass the FUSE session, by mount point; undefined if nothing holds them. */
  async #takeOverErofs<T>(
    fsDriver: "erofs-fanotify" | "erofs-fscache",
    server: NeededServer<T>,
    resume: (images: () => Promise<readonly PlacedImage[]>) => Promise<Resumed<T> | undefined>,
    before: () => Promise<readonly MountedBefore[]>,
  ): Promise<Map<string, ImageMount> | undefined> {
    const placed = async () =>
      (await before())
        .filter((one) => one.fsDriver === fsDriver)
        .map((one) => ({ ...one, target: this.#targetOf(one) }));
    const resumed = await resume(placed);
    if (resumed === undefined) return undefined;
    server.adopt(resumed.images);
    for (const target of resumed.damaged ?? []) await setAside(target);
    const mounts = resumed.mounts.filter((mount) => mount !== undefined);
    return new Map(mounts.map((mount) => [mount.path, withFolder(mount)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fuse.running?.[Symbol.asyncDispose]();
    await this.#fanotify.running?.[Symbol.asyncDispose]();
    await this.#fscache.running?.[Symbol.asyncDispose]();
    await this.#watch[Symbol.asyncDispose]();
    this.#ended.resolve();
  }
}

/** Opens of device files must reach us, since the reply to each open makes reads bypass the page cache. */
function asksOpens({ dataPath }: ImageMountsOptions): boolean {
  return dataPath.fsDriver !== "fuse";
}

/** Unmounts an image of which the kernel reads a damaged file, so that the next container gets a new mount. */
async function setAside(target: string): Promise<void> {
  log.error("the kernel's file of an image is damaged, its containers get errors: stop and start them", { target });
  await unmount(target, MNT.DETACH);
}

/** @param mounts number of those that nothing could be taken over of */
function warnOfLost(mounts: number): void {
  if (mounts > 0) log.warn("a killed server left mounts, containers that use them get errors", { mounts });
}

/**
 * Removes a session that nothing holds, and the EROFS mounts on its devices, except where `isServed` is true. Returns
 * the number of mounts.
 */
async function abandonFuse(
  { mountpoint, erofsDir, stateDir }: ImageMountsPlaces,
  isServed: (mountPoint: string) => boolean,
): Promise<number> {
  const isOurs = ({ mountPoint, fsType }: MountEntry) =>
    mountPoint === mountpoint ? fsType === FUSE_TYPE : fsType === EROFS_TYPE && !isServed(mountPoint);
  const dead = [...mountsBelow(erofsDir), ...mountsBelow(mountpoint)].filter(isOurs);
  const connection = findMount(mountpoint);
  await FuseSession.abandon(stateDir);
  // a thread of the dead server that was killed within its own mount still holds the device and waits for itself
  if (connection !== undefined) {
    await abortConnection(connection).catch((error) =>
      log.warn("connection of a dead mount not cut", { mountpoint, error: messageOf(error) })
    );
  }
  for (const { mountPoint } of dead) umount2(mountPoint, MNT.DETACH);
  return dead.length;
}

/** Returns `mount` with a dispose that also removes the mount point. */
function withFolder(mount: ImageMount): ImageMount {
  const dispose = async () => {
    await mount[Symbol.asyncDispose]();
    await removeFolder(mount.path);
  };
  return { ...mount, [Symbol.asyncDispose]: dispose };
}

async function removeFolder(path: string): Promise<void> {
  await ignore(Deno.errors.NotFound, Deno.remove(path));
}
