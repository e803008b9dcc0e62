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
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { isRefusal } from "../choose.ts";
import { deviceName, DeviceTree } from "../fuse/device_tree.ts";
import { unmount } from "../fuse/fuse_mount.ts";
import type { FuseSession } from "../fuse/session.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import type { ChunkStore, ImageMount, MountableImage, OpenBlob } from "../image_mount.ts";
import { openBlobs } from "../open_blobs.ts";
import type { UnmountWatch } from "../unmount_watch.ts";
import { completeDevicePath } from "./complete_device.ts";
import { devicesAgain } from "./devices_again.ts";
import { isErofsAt, READ_AHEAD_KB } from "./erofs_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";
import { openingDeadline } from "./placed_image.ts";

const log = logger("mount", "erofs");

/** Where the parts of a mount are, and how it comes about. */
export interface ErofsFuseOptions {
  /** The mount point, an existing folder. */
  readonly target: string;
  /** A folder for the image file, on a file system that EROFS can be on. */
  readonly stateDir: string;
  /** Whether files of the cache may be devices as they are: not where they are watched for other images. */
  readonly mayUseCacheFiles: boolean;
  /** How long blobs may take to be opened, to see whether they are complete. */
  readonly deadlineMs: number;
  /** Nothing is mounted before it resolves, or if it rejects. */
  readonly mayMount?: Promise<void>;
  /** Threads that have begun to start; ended here. */
  readonly tasks?: ErofsTasks | undefined;
}

/**
 * Mounts `image`. Its image for the kernel is made, the session started, and its blobs opened at the same time: a
 * processor, threads and the blobs' home are waited for.
 *
 * @param number of the image, as for {@link FuseSession.add}
 * @param needSession the session, started if need be; it answers opens one by one: device files are not to be cached a
 * second time
 * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "environment", "io"
 */
export async function mountErofsFuse(
  image: MountableImage,
  number: number,
  needSession: () => Promise<FuseSession>,
  watch: UnmountWatch,
  { target, stateDir, mayUseCacheFiles, deadlineMs, mayMount, tasks: begun = new ErofsTasks() }: ErofsFuseOptions,
): Promise<ImageMount> {
  await using cleanup = new AsyncDisposableStack();
  using tasks = begun;
  using deadline = openingDeadline(image, deadlineMs);
  const path = imagePath(stateDir, image);
  const opening = mayUseCacheFiles ? openStored(image.blobs, deadline.signal) : new Map();
  const [devices, session] = await bothOf(tasks.keep(image.bootstrap, path), needSession());
  const served = cleanup.use(await session.add(onDevices(image, devices), number));
  const files = await Promise.all(
    devices.map(async (table, index) =>
      await completePath(image, table, opening.get(table.blobIndex)) ?? `${served.path}/${deviceName(index)}`
    ),
  );
  await mayMount;
  await tasks.mount({ image: path, devices: files, target, readAheadKb: READ_AHEAD_KB });
  cleanup.defer(() => unmount(target, MNT.DETACH));
  const mount = erofsMountOf(served, session, watch, target);
  cleanup.move();
  // the super block has the devices open: their names are of no use any more, what is left of them is its reference
  await served[Symbol.asyncDispose]();
  return mount;
}

/**
 * Opens the blobs that may be complete, by their indexes. What was never read is not: the mount does not wait for chunk
 * tables that have to be fetched.
 */
function openStored(stores: readonly ChunkStore[], signal: AbortSignal): Map<number, Promise<OpenBlob>> {
  const stored = [...stores.keys()].filter((index) => stores[index]?.mayBeStored ?? true);
  const blobs = openBlobs(stored.map((index) => stores[index] as ChunkStore), signal);
  return new Map(blobs.map((blob, k) => [stored[k] as number, blob]));
}

/** What both of them give, when both have ended: what one of them uses must not go while it still runs. */
async function bothOf<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/** Path of the blob's cache file, where the kernel can have that. */
async function completePath(
  { name, blobs }: MountableImage,
  table: DeviceTable,
  opening: Promise<OpenBlob> | undefined,
): Promise<string | undefined> {
  const store = blobs[table.blobIndex];
  try {
    const blob = await opening;
    return store && blob && completeDevicePath(table, blob, store);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    log.debug("device is served by fuse", { image: name, reason: messageOf(error) });
    return undefined;
  }
}

/** `image` as {@link FuseSession.takeOver} wants it when its super block outlived the process that made it. */
export async function onDevicesAgain(image: MountableImage, stateDir: string): Promise<MountableImage> {
  return onDevices(image, await devicesAgain(image, stateDir));
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
