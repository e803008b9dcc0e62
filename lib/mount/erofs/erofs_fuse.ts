/**
 * Images as EROFS over device files of our FUSE session: the kernel has the tree, we have the chunks.
 *
 * ```
 *  processes ─► EROFS ── names, attributes, page cache ── all in the kernel
 *                 │ blocks that it does not have
 *                 ▼
 *  <session>/<name>/0, 1, …   device files, read past their page cache ─► Workers, ChunkStore.ensure
 * ```
 * A blob that is complete at the mount is a device as it is, by its cache file: nobody is asked.
 *
 * Fail-closed: data that cannot be had are EIO. The super block outlives the server that made it: while the keeper has the
 * session, reads wait for a successor; then they are EIO. The image is gone when the kernel has dropped
 * the super block: an overlay holds it on after the unmount, and reads on.
 *
 * @module
 */
import { MNT } from "../../../ffi/sys_mount.ts";
import { Deadline } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { isRefusal } from "../choose.ts";
import { deviceName, DeviceTree } from "../fuse/device_tree.ts";
import { unmount } from "../fuse/fuse_mount.ts";
import type { FuseSession } from "../fuse/session.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import type { ImageMount, MountableImage } from "../image_mount.ts";
import type { UnmountWatch } from "../unmount_watch.ts";
import { completeDevicePath } from "./complete_device.ts";
import { isErofsAt, READ_AHEAD_KB } from "./erofs_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";

const log = logger("mount", "erofs");

/** Where the parts of a mount are. */
export interface ErofsPlaces {
  /** The mount point, an existing folder. */
  readonly target: string;
  /** A folder for the image file, on a file system that EROFS can be on. */
  readonly stateDir: string;
  /** Whether files of the cache may be devices as they are: not where they are watched for other images. */
  readonly mayUseCacheFiles: boolean;
  /** How long blobs may take to be opened, to see whether they are complete. */
  readonly deadlineMs: number;
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
  const { target, stateDir, mayUseCacheFiles, deadlineMs } = places;
  await using cleanup = new AsyncDisposableStack();
  using tasks = new ErofsTasks();
  const path = imagePath(stateDir, image);
  const devices = await tasks.keep(image.bootstrap, path);
  const served = cleanup.use(await session.add(onDevices(image, devices), number));
  using deadline = new Deadline(
    deadlineMs,
    undefined,
    () => new NydusGdError("unavailable", "Cannot open blob in time"),
  );
  const complete = (table: DeviceTable) => mayUseCacheFiles ? completePath(image, table, deadline.signal) : undefined;
  const files = await Promise.all(
    devices.map(async (table, index) => await complete(table) ?? `${served.path}/${deviceName(index)}`),
  );
  await tasks.mount({ image: path, devices: files, target, readAheadKb: READ_AHEAD_KB });
  cleanup.defer(() => unmount(target, MNT.DETACH));
  const mount = erofsMountOf(served, session, watch, target);
  cleanup.move();
  // the super block has the devices open: their names are of no use any more, what is left of them is its reference
  await served[Symbol.asyncDispose]();
  return mount;
}

/** Path of the blob's cache file, where the kernel can have that. */
async function completePath(
  { name, blobs }: MountableImage,
  table: DeviceTable,
  signal: AbortSignal,
): Promise<string | undefined> {
  const store = blobs[table.blobIndex];
  try {
    return store && completeDevicePath(table, await store.open(signal), store);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    log.debug("device is served by fuse", { image: name, reason: messageOf(error) });
    return undefined;
  }
}

/**
 * `image` as {@link FuseSession.takeOver} wants it when its super block outlived the process that made it: the same tree
 * makes the same devices.
 */
export async function devicesAgain(image: MountableImage, stateDir: string): Promise<MountableImage> {
  using tasks = new ErofsTasks();
  return onDevices(image, await tasks.devices(image.bootstrap, imagePath(stateDir, image)));
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
    isEndless: served.isEndless ?? false,
    isSeen: () => isErofsAt(target),
    released: Promise.all([served.released, Promise.race([gone, ended])]).then(() => undefined),
    [Symbol.asyncDispose]: () => unmount(target, MNT.DETACH),
  };
}

function onDevices(image: MountableImage, devices: readonly DeviceTable[]): MountableImage {
  const { name, bootstrap, blobs, misses } = image;
  return {
    name,
    bootstrap,
    blobs,
    tree: new DeviceTree(devices),
    devices,
    ...(misses === undefined ? {} : { misses }),
  };
}
