/**
 * Images as EROFS over device files of our FUSE session: the kernel has the tree, we have the chunks.
 *
 * ```
 *  processes ─► EROFS ── names, attributes, page cache ── all in the kernel
 *                 │ blocks that it does not have
 *                 ▼
 *  <session>/<name>/0, 1, …   device files, read past their page cache ─► Workers, ChunkStore.ensure
 * ```
 * Fail-closed: data that cannot be had are EIO. The super block outlives the server that made it: while the keeper has the
 * session, reads wait for a successor; then they are EIO. The image is gone when the kernel has dropped
 * the super block: an overlay holds it on after the unmount, and reads on.
 *
 * @module
 */
import { mountAt } from "../../../ffi/mountinfo.ts";
import { MNT } from "../../../ffi/sys_mount.ts";
import { ignore } from "../../base/errors.ts";
import { deviceName, DeviceTree } from "../fuse/device_tree.ts";
import { unmount } from "../fuse/fuse_mount.ts";
import type { FuseSession } from "../fuse/session.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import type { ImageMount, MountableImage } from "../image_mount.ts";
import type { UnmountWatch } from "../unmount_watch.ts";
import { EROFS_TYPE } from "./erofs_mount.ts";
import { ErofsTasks } from "./erofs_tasks.ts";

/** See docs/performance.md: more than the kernel's 128 fetches more than is read, and gains nothing. */
const READ_AHEAD_KB = 128;

/** Where the parts of a mount are. */
export interface ErofsPlaces {
  /** The mount point, an existing folder. */
  readonly target: string;
  /** A folder for the image file, which has no name once it is mounted; on a file system that EROFS can be on. */
  readonly stateDir: string;
}

/**
 * Mounts `image`.
 *
 * @param session answers opens one by one: device files are not to be cached a second time
 * @param number of the image, as for {@link FuseSession.add}
 * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "environment", "io"
 */
export async function mountErofsFuse(
  image: MountableImage,
  number: number,
  session: FuseSession,
  watch: UnmountWatch,
  places: ErofsPlaces,
): Promise<ImageMount> {
  const { target, stateDir } = places;
  await using cleanup = new AsyncDisposableStack();
  using tasks = new ErofsTasks();
  const path = imagePath(stateDir, image);
  cleanup.defer(() => ignore(Deno.errors.NotFound, Deno.remove(path)));
  const devices = await tasks.make(image.bootstrap, path);
  const served = cleanup.use(await session.add(onDevices(image, devices), number));
  const files = devices.map((_, index) => `${served.path}/${deviceName(index)}`);
  await tasks.mount({ image: path, devices: files, target, readAheadKb: READ_AHEAD_KB });
  cleanup.defer(() => unmount(target, MNT.DETACH));
  const mount = erofsMountOf(served, session, watch, target);
  cleanup.move();
  // the super block has them open: the names are of no use any more, and what is left of the devices is its reference
  await served[Symbol.asyncDispose]();
  await Deno.remove(path);
  return mount;
}

/**
 * `image` as {@link FuseSession.takeOver} wants it when its super block outlived the process that made it: the same tree
 * makes the same devices.
 *
 * @throws {NydusGdError} "io" when there is no space to make them
 */
export async function devicesAgain(image: MountableImage, stateDir: string): Promise<MountableImage> {
  using tasks = new ErofsTasks();
  const path = imagePath(stateDir, image);
  try {
    return onDevices(image, await tasks.make(image.bootstrap, path));
  } finally {
    await ignore(Deno.errors.NotFound, Deno.remove(path));
  }
}

/** Whether an EROFS is mounted on `target`. */
export function isErofsAt(target: string): boolean {
  return mountAt(target)?.fsType === EROFS_TYPE;
}

/** The mount on `target`, whose devices are `served`: just made, or taken over. */
export function erofsMountOf(
  served: ImageMount,
  session: FuseSession,
  watch: UnmountWatch,
  target: string,
): ImageMount {
  const gone = watch.gone(target);
  const ended = session.ended.catch(() => undefined); // who started it is told
  return {
    fsDriver: "erofs-fuse",
    path: target,
    isSeen: () => isErofsAt(target),
    released: Promise.all([served.released, Promise.race([gone, ended])]).then(() => undefined),
    [Symbol.asyncDispose]: () => unmount(target, MNT.DETACH),
  };
}

function onDevices({ name, bootstrap, blobs }: MountableImage, devices: readonly DeviceTable[]): MountableImage {
  return { name, bootstrap, blobs, tree: new DeviceTree(devices), devices };
}

function imagePath(stateDir: string, { name }: MountableImage): string {
  return `${stateDir}/${name}.erofs`;
}
