/**
 * Images in the kernel by the data path that was chosen: what serves them, and which path each one takes.
 *
 * ```
 * add(image) ──► erofs-fuse ──► EROFS at <erofsDir>/<image.name>, device files in the session
 *                    │ it cannot be
 *                    ▼
 *                  fuse ──────► <mountpoint>/<image.name>
 * ```
 *
 * @module
 */
import { type MountEntry, mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { ignore, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type DataPathChoice, type FsDriver, isRefusal } from "./choose.ts";
import { devicesAgain, erofsMountOf, isErofsAt, mountErofsFuse } from "./erofs/erofs_fuse.ts";
import { EROFS_TYPE } from "./erofs/erofs_mount.ts";
import { FUSE_TYPE, unmount } from "./fuse/fuse_mount.ts";
import { type FuseCounters, FuseSession, type FuseSessionOptions, type NumberedImage } from "./fuse/session.ts";
import type { ImageMount, MountableImage } from "./image_mount.ts";
import { UnmountWatch } from "./unmount_watch.ts";

const log = logger("mount");

/** How they are set up. */
export interface ImageMountsOptions extends Omit<FuseSessionOptions, "single" | "openRequests"> {
  readonly dataPath: DataPathChoice;
  /** Where EROFS images are mounted, a folder for each; made when it is needed. */
  readonly erofsDir: string;
}

/** An image that an earlier process had mounted. */
export interface MountedBefore extends NumberedImage {
  readonly fsDriver: FsDriver;
}

/** Everything that serves images. Disposing unmounts them all, by force where they are in use. */
export class ImageMounts implements AsyncDisposable {
  readonly #watch = new UnmountWatch();

  private constructor(private readonly options: ImageMountsOptions, private readonly session: FuseSession) {}

  /** @throws {NydusGdError} as {@link FuseSession.start} */
  static async start(options: ImageMountsOptions): Promise<ImageMounts> {
    return new ImageMounts(options, await FuseSession.start({ ...options, openRequests: asksOpens(options) }));
  }

  /**
   * Goes on with what a process that was killed, or has left, had mounted: {@link FuseSession.takeOver}.
   *
   * @param images what it had, each with the data path that it took
   * @returns a mount for each image, undefined where somebody has unmounted it. Undefined altogether: nobody has the
   * session, {@link abandon} takes away what is left
   * @throws {NydusGdError} as {@link FuseSession.takeOver}
   */
  static async takeOver(
    options: ImageMountsOptions,
    images: () => Promise<readonly MountedBefore[]>,
  ): Promise<{ readonly session: ImageMounts; readonly mounts: readonly (ImageMount | undefined)[] } | undefined> {
    const { erofsDir, stateDir } = options;
    const targetOf = ({ image }: NumberedImage) => `${erofsDir}/${image.name}`;
    const isLost = (one: MountedBefore) => one.fsDriver === "erofs-fuse" && !isErofsAt(targetOf(one));
    let before: readonly MountedBefore[] = [];
    let lost: ReadonlySet<MountedBefore> = new Set();
    const numbered = async () => {
      before = await images();
      lost = new Set(before.filter(isLost));
      return await Promise.all(
        before.filter((one) => !lost.has(one)).map(async ({ image, number, fsDriver }) => ({
          number,
          image: fsDriver === "erofs-fuse" ? await devicesAgain(image, stateDir) : image,
        })),
      );
    };
    const taken = await FuseSession.takeOver({ ...options, openRequests: asksOpens(options) }, numbered);
    if (taken === undefined) return undefined;
    const session = new ImageMounts(options, taken.session);
    const served = taken.mounts.values();
    const mounts = before.map((one) => {
      const mount = lost.has(one) ? undefined : served.next().value;
      return mount === undefined || one.fsDriver === "fuse" ? mount : session.#erofsMount(mount, targetOf(one));
    });
    return { session, mounts };
  }

  /** Takes away what an earlier process left and {@link takeOver} could not have: its users get errors. */
  static async abandon(
    { mountpoint, erofsDir, stateDir }: Pick<ImageMountsOptions, "mountpoint" | "erofsDir" | "stateDir">,
  ): Promise<void> {
    const isOurs = ({ mountPoint, fsType }: MountEntry) =>
      mountPoint === mountpoint ? fsType === FUSE_TYPE : fsType === EROFS_TYPE;
    const dead = [...mountsBelow(erofsDir), ...mountsBelow(mountpoint)].filter(isOurs);
    if (dead.length > 0) {
      log.warn("a killed server left mounts, containers that use them get errors", { mounts: dead.length });
    }
    // its connection goes with the keeper: nobody waits for what is not answered
    await FuseSession.abandon(stateDir);
    for (const { mountPoint } of dead) umount2(mountPoint, MNT.DETACH);
  }

  /** Leaves every mount to a successor, as {@link FuseSession.leave}. */
  async leave(): Promise<void> {
    await this.session.leave();
    await this.#watch[Symbol.asyncDispose]();
  }

  /** Mount point of the session. */
  get mountpoint(): string {
    return this.session.mountpoint;
  }

  /** Resolves when the session is gone, whoever unmounted it. */
  get ended(): Promise<void> {
    return this.session.ended;
  }

  /** READs that wait for data now. */
  get waitingReads(): number {
    return this.session.waitingReads;
  }

  /** What the session has served so far. */
  counters(): FuseCounters {
    return this.session.counters();
  }

  /**
   * Mounts an image.
   *
   * @param number as for {@link FuseSession.add}
   * @throws {NydusGdError} when it cannot be, or not by the data path that was asked for
   */
  async add(image: MountableImage, number: number): Promise<ImageMount> {
    const { fsDriver, named } = this.options.dataPath;
    if (fsDriver === "fuse") return await this.session.add(image, number);
    try {
      return await this.#addErofs(image, number);
    } catch (error) {
      if (named || !isRefusal(error)) throw error;
      log.warn("image is served by fuse", { image: image.name, reason: messageOf(error) });
      return await this.session.add(image, number);
    }
  }

  async #addErofs(image: MountableImage, number: number): Promise<ImageMount> {
    const { erofsDir, stateDir } = this.options;
    const target = `${erofsDir}/${image.name}`;
    // of an earlier process that was killed before it was on record, or whose image could not be had again
    if (isErofsAt(target)) await unmount(target, MNT.DETACH);
    await Deno.mkdir(target, { recursive: true, mode: 0o700 });
    try {
      return withFolder(await mountErofsFuse(image, number, this.session, this.#watch, { target, stateDir }));
    } catch (error) {
      await removeFolder(target);
      throw error;
    }
  }

  #erofsMount(served: ImageMount, target: string): ImageMount {
    return withFolder(erofsMountOf(served, this.session, this.#watch, target));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    await this.#watch[Symbol.asyncDispose]();
  }
}

/** Device files are opened past their page cache, which is told at each open. */
function asksOpens({ dataPath }: ImageMountsOptions): boolean {
  return dataPath.fsDriver !== "fuse";
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
