/**
 * Mounts a single image at a directory by the chosen data path.
 *
 * ```
 * fuse            the session itself is mounted on DIR
 * erofs-fuse      EROFS is mounted on DIR, the session with its devices in the state directory
 * erofs-fanotify  EROFS is mounted on DIR, on files of the cache
 * erofs-fscache   EROFS is mounted on DIR, on the kernel's cache
 * ```
 *
 * @module
 */
import { mountAt } from "../../ffi/mountinfo.ts";
import { messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type DataPathChoice, isRefusal } from "./data_path.ts";
import { FanotifyImages, type FanotifyOptions } from "./fanotify/fanotify_images.ts";
import { FscacheImages, type FscacheOptions } from "./fscache/fscache_images.ts";
import { type ErofsFuseOptions, erofsMountOf, mountErofsFuse, onRecomputedDevices } from "./erofs/erofs_fuse.ts";
import { showsErofsAt } from "./erofs/erofs_mount.ts";
import { FuseSession, type FuseSessionOptions } from "./fuse/session.ts";
import type { ImageMount, MountableImage } from "./image_mount.ts";
import { UnmountWatch } from "./unmount/unmount_watch.ts";

const log = logger("mount");

/** Number of the only image. */
const ONLY_IMAGE = 1;

/** Options, as for a session. */
export type SingleMountOptions =
  & Omit<FuseSessionOptions, "single" | "openRequests" | "mayMount">
  & Pick<FanotifyOptions, "cacheMount">
  & Pick<FscacheOptions, "cacheDir" | "minFree">
  & Pick<ErofsFuseOptions, "mayMount" | "tasks">;

/**
 * Mounts `image` on `mountpoint`. Disposing unmounts, by force if it is in use, and resolves when everything is closed.
 *
 * @throws {NydusGdError} when it cannot be mounted, or not by the requested data path
 */
export async function mountSingle(
  image: MountableImage,
  { fsDriver, named }: DataPathChoice,
  options: SingleMountOptions,
): Promise<ImageMount> {
  if (fsDriver === "fuse") return await mountFuse(image, options);
  try {
    return fsDriver === "erofs-fuse" ? await mountErofs(image, options) : await mountBy(fsDriver, image, options);
  } catch (error) {
    if (named || !isRefusal(error)) throw error;
    const mount = await mountFuse(image, options);
    log.warn("image is served by fuse", { image: image.name, reason: messageOf(error) });
    return mount;
  }
}

async function mountFuse(image: MountableImage, options: SingleMountOptions): Promise<ImageMount> {
  return mountOf(await FuseSession.start({ ...options, single: { image, number: ONLY_IMAGE } }));
}

/**
 * Takes over the mount of a process that was killed, by its data path.
 *
 * @returns undefined if nothing holds it any more
 * @throws {NydusGdError} as {@link FuseSession.takeOver}
 */
export async function takeOverSingle(
  image: MountableImage,
  options: SingleMountOptions,
): Promise<ImageMount | undefined> {
  const { mountpoint: target, stateDir } = options;
  if (!showsErofsAt(target)) {
    const single = { image, number: ONLY_IMAGE };
    const taken = await FuseSession.takeOver({ ...options, single }, () => Promise.resolve([single]));
    return taken && mountOf(taken.session);
  }
  await using parts = new AsyncDisposableStack();
  const watch = parts.use(new UnmountWatch());
  const placed = { image, number: ONLY_IMAGE, target };
  const before = () => Promise.resolve([placed]);
  const resumed = await FanotifyImages.resume(options, watch, before) ??
    await FscacheImages.resume(options, watch, before);
  if (resumed !== undefined) {
    const [mount] = resumed.mounts;
    if (mount === undefined) {
      await resumed.images.leave(); // its readers wait instead of getting zeros or errors
      return undefined;
    }
    parts.use(resumed.images);
    return owning(mount, parts.move());
  }
  const taken = await FuseSession.takeOver(
    { ...options, mountpoint: devicesDir(stateDir), openRequests: true },
    async () => [{ image: (await onRecomputedDevices(image, stateDir)).image, number: ONLY_IMAGE }],
  );
  const [served] = taken?.mounts ?? [];
  if (taken === undefined || served === undefined) return undefined;
  parts.use(taken.session);
  const mount = parts.use(erofsMountOf(served, taken.session, watch, target));
  return owning(mount, parts.move());
}

/** Returns `mount` with a dispose that disposes `parts`. */
function owning(mount: ImageMount, parts: AsyncDisposableStack): ImageMount {
  return { ...mount, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

function mountOf(session: FuseSession): ImageMount {
  return {
    fsDriver: "fuse",
    path: session.mountpoint,
    isSeen: () => mountAt(session.mountpoint) !== undefined,
    released: session.ended,
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** Mount point of the session whose files are the devices of EROFS. */
function devicesDir(stateDir: string): string {
  return `${stateDir}/devices`;
}

async function mountErofs(image: MountableImage, options: SingleMountOptions): Promise<ImageMount> {
  const { mountpoint, stateDir } = options;
  await using parts = new AsyncDisposableStack();
  const devices = devicesDir(stateDir);
  await Deno.mkdir(devices, { recursive: true, mode: 0o700 });
  const watch = parts.use(new UnmountWatch());
  const startSession = async () =>
    parts.use(
      await FuseSession.start({ ...options, mountpoint: devices, openRequests: true, mayMount: undefined }),
    );
  const placed = { image, number: ONLY_IMAGE, target: mountpoint };
  const mount = parts.use(await mountErofsFuse(placed, startSession, watch, { ...options, mayUseCacheFiles: true }));
  return owning(mount, parts.move());
}

async function mountBy(
  fsDriver: "erofs-fanotify" | "erofs-fscache",
  image: MountableImage,
  options: SingleMountOptions,
): Promise<ImageMount> {
  await using parts = new AsyncDisposableStack();
  const watch = parts.use(new UnmountWatch());
  await options.mayMount;
  const start = fsDriver === "erofs-fanotify" ? FanotifyImages.start : FscacheImages.start;
  const images = parts.use(await start(options, watch));
  const mount = await images.add({ image, number: ONLY_IMAGE, target: options.mountpoint });
  return owning(mount, parts.move());
}
