/**
 * Images in the kernel by the data path that was chosen: what serves them, and which path each one takes.
 *
 * ```
 * add(image) ──► erofs-fanotify ──► EROFS at <erofsDir>/<image.name>, on files of the cache
 *            ──► erofs-fscache ───► EROFS at <erofsDir>/<image.name>, out of the kernel's cache
 *            ──► erofs-fuse ──────► EROFS at <erofsDir>/<image.name>, device files in the session
 *                    │ it cannot be
 *                    ▼
 *                  fuse ──────────► <mountpoint>/<image.name>
 * ```
 * What serves is started with the first image that needs it.
 *
 * @module
 */
import { type MountEntry, mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { ignore, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { SingleFlight } from "../base/single_flight.ts";
import { type DataPathChoice, type FsDriver, isRefusal } from "./choose.ts";
import { FanotifyImages, type FanotifyOptions } from "./erofs/erofs_fanotify.ts";
import { FscacheImages, type FscacheOptions } from "./erofs/erofs_fscache.ts";
import { erofsMountOf, mountErofsFuse, onDevicesAgain } from "./erofs/erofs_fuse.ts";
import { EROFS_TYPE, isErofsAt } from "./erofs/erofs_mount.ts";
import type { PlacedImage } from "./erofs/placed_image.ts";
import type { OfferedImage, OfferName } from "./fscache/offers.ts";
import { abortConnection, findMount, FUSE_TYPE, unmount } from "./fuse/fuse_mount.ts";
import { type FuseCounters, FuseSession, type FuseSessionOptions, type NumberedImage } from "./fuse/session.ts";
import type { ImageMount, MountableImage } from "./image_mount.ts";
import { UnmountWatch } from "./unmount_watch.ts";

const log = logger("mount");

/** How they are set up. */
export interface ImageMountsOptions
  extends
    Omit<FuseSessionOptions, "single" | "openRequests">,
    Pick<FanotifyOptions, "cacheMount">,
    Pick<FscacheOptions, "cacheDir" | "minFree" | "offered"> {
  readonly dataPath: DataPathChoice;
  /** Where EROFS images are mounted, a folder for each; made when it is needed. */
  readonly erofsDir: string;
}

/** Places alone. */
export type ImageMountsPlaces = Pick<ImageMountsOptions, "mountpoint" | "erofsDir" | "stateDir">;

/** An image that an earlier process had mounted. */
export interface MountedBefore extends NumberedImage {
  readonly fsDriver: FsDriver;
}

/** Everything that serves images. Disposing unmounts them all, by force where they are in use. */
export class ImageMounts implements AsyncDisposable {
  readonly #watch = new UnmountWatch();
  readonly #starting = new SingleFlight<"fuse" | "fanotify" | "fscache", unknown>();
  readonly #ended = Promise.withResolvers<void>();
  #fuse: FuseSession | undefined;
  #fanotify: FanotifyImages | undefined;
  #fscache: FscacheImages | undefined;

  private constructor(private readonly options: ImageMountsOptions) {}

  /** @throws {NydusGdError} as {@link FuseSession.start}, {@link FanotifyImages.start}, {@link FscacheImages.start} */
  static async start(options: ImageMountsOptions): Promise<ImageMounts> {
    const mounts = new ImageMounts(options);
    try {
      const { fsDriver } = options.dataPath;
      if (fsDriver === "erofs-fanotify") await mounts.#needFanotify();
      else if (fsDriver === "erofs-fscache") await mounts.#needFscache();
      else await mounts.#needFuse();
      return mounts;
    } catch (error) {
      await mounts[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Goes on with what a process that was killed, or has left, had mounted.
   *
   * @param images what it had, each with the data path that it took
   * @returns a mount for each image, undefined where somebody has unmounted it or nobody has it any more. Undefined
   * altogether: there is nothing to go on with, {@link abandon} takes away what is left
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
    const byFanotify = await mounts.#takeOverErofs("erofs-fanotify", before);
    const byFscache = await mounts.#takeOverErofs("erofs-fscache", before);
    if (byFuse === undefined && byFanotify === undefined && byFscache === undefined) {
      await mounts.#watch[Symbol.asyncDispose]();
      return undefined;
    }
    const byErofs = new Map([...byFanotify ?? [], ...byFscache ?? []]);
    if (byFuse === undefined) await abandonFuse(options, (target) => byErofs.has(target));
    const found = (one: MountedBefore) => byFuse?.get(one) ?? byErofs.get(mounts.#targetOf(one));
    return { session: mounts, mounts: (await before()).map(found) };
  }

  /** Takes away what an earlier process left and {@link takeOver} could not have: its users get errors. */
  static async abandon(places: ImageMountsPlaces): Promise<void> {
    await abandonFuse(places, () => false);
    await FanotifyImages.abandon(places.stateDir);
    await FscacheImages.abandon(places.stateDir);
  }

  /** Leaves every mount to a successor, as {@link FuseSession.leave}. */
  async leave(): Promise<void> {
    await this.#fuse?.leave();
    await this.#fanotify?.leave();
    await this.#fscache?.leave();
    await this.#watch[Symbol.asyncDispose]();
  }

  /** Mount point of the FUSE session, where there is one. */
  get mountpoint(): string {
    return this.options.mountpoint;
  }

  /** Resolves when the FUSE session that the data path needs is gone, whoever unmounted it, or all is disposed. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Offers an image to whoever mounts it by that name out of the kernel's cache, whatever the data path here.
   *
   * @throws {NydusGdError} as {@link FscacheImages.start} and Offers.add
   */
  async offer(offered: OfferedImage): Promise<void> {
    await (await this.#needFscache()).offers.add(offered);
  }

  /** Ends an offer, and resolves when nobody has the image mounted; see Offers.withdraw. */
  async withdraw(name: OfferName): Promise<void> {
    await this.#fscache?.offers.withdraw(name);
  }

  /** How many images are offered. */
  get offers(): number {
    return this.#fscache?.offers.count ?? 0;
  }

  /** See {@link FscacheImages.emptyCache}; undefined where the kernel's cache is not in use here. */
  async emptyKernelCache(): Promise<number | undefined> {
    return await this.#fscache?.emptyCache();
  }

  /** Reads that wait for data now. */
  get waitingReads(): number {
    return (this.#fuse?.waitingReads ?? 0) + (this.#fanotify?.waiting ?? 0) + (this.#fscache?.waiting ?? 0);
  }

  /** What has been served so far. */
  counters(): FuseCounters {
    const fuse = this.#fuse?.counters() ?? { requests: 0, reads: 0, readBytes: 0, misses: 0 };
    const { events = 0, hits = 0, misses = 0 } = this.#fanotify?.counters() ?? {};
    const { messages = 0, reads = 0 } = this.#fscache?.counters() ?? {};
    return {
      ...fuse,
      requests: fuse.requests + events + messages,
      reads: fuse.reads + hits,
      misses: fuse.misses + misses + reads,
    };
  }

  /**
   * Mounts an image.
   *
   * @param number as for {@link FuseSession.add}
   * @throws {NydusGdError} when it cannot be, or not by the data path that was asked for
   */
  async add(image: MountableImage, number: number): Promise<ImageMount> {
    const { fsDriver, named } = this.options.dataPath;
    if (fsDriver === "fuse") return await (await this.#needFuse()).add(image, number);
    try {
      return await this.#addErofs(image, number, fsDriver);
    } catch (error) {
      if (named || !isRefusal(error)) throw error;
      const mount = await (await this.#needFuse()).add(image, number);
      const refusal = messageOf(error);
      log.warn("image is served by fuse", { image: image.name, reason: refusal });
      return { ...mount, refusal };
    }
  }

  async #addErofs(image: MountableImage, number: number, fsDriver: FsDriver): Promise<ImageMount> {
    const target = this.#targetOf({ image });
    // of an earlier process that was killed before it was on record, or whose image could not be had again
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
    if (fsDriver === "erofs-fanotify") return await (await this.#needFanotify()).add(placed);
    if (fsDriver === "erofs-fscache") return await (await this.#needFscache()).add(placed);
    const { image, number, target } = placed;
    const { stateDir, deadlineMs } = this.options;
    const options = { target, stateDir, deadlineMs, mayUseCacheFiles: this.#fanotify === undefined };
    return await mountErofsFuse(image, number, () => this.#needFuse(), this.#watch, options);
  }

  #targetOf({ image }: Pick<NumberedImage, "image">): string {
    return `${this.options.erofsDir}/${image.name}`;
  }

  async #needFuse(): Promise<FuseSession> {
    if (this.#fuse !== undefined) return this.#fuse;
    await this.#starting.run("fuse", async () => {
      this.#adoptFuse(await FuseSession.start({ ...this.options, openRequests: asksOpens(this.options) }));
    });
    return await this.#needFuse();
  }

  #adoptFuse(session: FuseSession): void {
    this.#fuse = session;
    session.ended.then(() => {
      // where images go past it, one that ended is started anew when an image needs it
      const { fsDriver } = this.options.dataPath;
      if (fsDriver === "erofs-fanotify" || fsDriver === "erofs-fscache") this.#fuse = undefined;
      else this.#ended.resolve();
    }, this.#ended.reject);
  }

  async #needFanotify(): Promise<FanotifyImages> {
    if (this.#fanotify !== undefined) return this.#fanotify;
    await this.#starting.run("fanotify", async () => {
      this.#fanotify = await FanotifyImages.start(this.options, this.#watch);
    });
    return await this.#needFanotify();
  }

  async #needFscache(): Promise<FscacheImages> {
    if (this.#fscache !== undefined) return this.#fscache;
    await this.#starting.run("fscache", async () => {
      this.#fscache = await FscacheImages.start(this.options, this.#watch);
    });
    return await this.#needFscache();
  }

  /** Mounts of the images that went by way of the session; undefined where nobody has it. */
  async #takeOverFuse(
    before: () => Promise<readonly MountedBefore[]>,
  ): Promise<Map<MountedBefore, ImageMount> | undefined> {
    const isThere = (one: MountedBefore) =>
      one.fsDriver === "fuse" || (one.fsDriver === "erofs-fuse" && isErofsAt(this.#targetOf(one)));
    let there: readonly MountedBefore[] = [];
    const numbered = async () => {
      there = (await before()).filter(isThere);
      return await Promise.all(there.map(async ({ image, number, fsDriver }) => ({
        number,
        image: fsDriver === "erofs-fuse" ? await onDevicesAgain(image, this.options.stateDir) : image,
      })));
    };
    const taken = await FuseSession.takeOver({ ...this.options, openRequests: asksOpens(this.options) }, numbered);
    if (taken === undefined) return undefined;
    const { session, mounts } = taken;
    this.#adoptFuse(session);
    const mountOf = (one: MountedBefore, served: ImageMount) =>
      one.fsDriver === "fuse" ? served : withFolder(erofsMountOf(served, session, this.#watch, this.#targetOf(one)));
    return new Map(there.map((one, index) => [one, mountOf(one, mounts[index] as ImageMount)]));
  }

  /** Mounts of the images that went past the session, by mount point; undefined where nobody has them. */
  async #takeOverErofs(
    fsDriver: "erofs-fanotify" | "erofs-fscache",
    before: () => Promise<readonly MountedBefore[]>,
  ): Promise<Map<string, ImageMount> | undefined> {
    const placed = async () =>
      (await before())
        .filter((one) => one.fsDriver === fsDriver)
        .map((one) => ({ ...one, target: this.#targetOf(one) }));
    const mounts = await this.#resume(fsDriver, placed);
    return mounts && new Map(mounts.filter((mount) => mount !== undefined).map((one) => [one.path, withFolder(one)]));
  }

  async #resume(
    fsDriver: "erofs-fanotify" | "erofs-fscache",
    placed: () => Promise<readonly PlacedImage[]>,
  ): Promise<readonly (ImageMount | undefined)[] | undefined> {
    if (fsDriver === "erofs-fanotify") {
      const resumed = await FanotifyImages.resume(this.options, this.#watch, placed);
      this.#fanotify = resumed?.images;
      return resumed?.mounts;
    }
    const resumed = await FscacheImages.resume(this.options, this.#watch, placed);
    this.#fscache = resumed?.images;
    return resumed?.mounts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fuse?.[Symbol.asyncDispose]();
    await this.#fanotify?.[Symbol.asyncDispose]();
    await this.#fscache?.[Symbol.asyncDispose]();
    await this.#watch[Symbol.asyncDispose]();
    this.#ended.resolve();
  }
}

/** Device files are opened past their page cache, which is told at each open. */
function asksOpens({ dataPath }: ImageMountsOptions): boolean {
  return dataPath.fsDriver !== "fuse";
}

/** Takes away a session that nobody has, and the EROFS on its devices. `isServed`: mount points to be left. */
async function abandonFuse(
  { mountpoint, erofsDir, stateDir }: ImageMountsPlaces,
  isServed: (mountPoint: string) => boolean,
): Promise<void> {
  const isOurs = ({ mountPoint, fsType }: MountEntry) =>
    mountPoint === mountpoint ? fsType === FUSE_TYPE : fsType === EROFS_TYPE && !isServed(mountPoint);
  const dead = [...mountsBelow(erofsDir), ...mountsBelow(mountpoint)].filter(isOurs);
  if (dead.length > 0) {
    log.warn("a killed server left mounts, containers that use them get errors", { mounts: dead.length });
  }
  const connection = findMount(mountpoint);
  await FuseSession.abandon(stateDir);
  // a thread of that server which was killed within a mount of its own still has the device, and waits for itself
  if (connection !== undefined) {
    await abortConnection(connection).catch((error) =>
      log.warn("connection of a dead mount not cut", { mountpoint, error: messageOf(error) })
    );
  }
  for (const { mountPoint } of dead) umount2(mountPoint, MNT.DETACH);
}

/** `mount`, whose mount point goes with it. */
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
