/**
 * Images as EROFS over device files of our FUSE session: the kernel has the tree, we have the chunks.
 *
 * ```
 *  processes ─► EROFS ── names, attributes, page cache ── all in the kernel
 *                 │ blocks that are not in memory
 *                 ▼
 *  <session>/<name>/0, 1, …   device files, read past their page cache ─► Workers, ChunkStore.ensure
 * ```
 * If a blob is complete at the mount, its cache file is the device, and its reads do not involve this process.
 *
 * Fail-closed: data that cannot be fetched are EIO. The super block outlives the server that made it: while the keeper
 * holds the session, reads wait for a successor; after that they are EIO. The image is gone when the kernel has
 * released the super block: an overlay keeps it alive after the unmount and continues to read.
 *
 * @module
 */
import { MNT } from "../../../ffi/sys_mount.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { isRefusal } from "../data_path.ts";
import { deviceName, DeviceTree } from "../fuse/device_tree.ts";
import type { ShownImage } from "../fuse/shown_images.ts";
import { unmount } from "../unmount/unmount.ts";
import type { FuseSession } from "../fuse/session.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import type { ChunkStore, ImageMount, MountableImage, OpenBlob } from "../image_mount.ts";
import { openBlobs, openingDeadline } from "../reads/open_blobs.ts";
import type { UnmountWatch } from "../unmount/unmount_watch.ts";
import { completeDevicePath } from "../reads/device_file.ts";
import { recomputeDevices } from "./recompute_devices.ts";
import { isErofsAt, READ_AHEAD_KB } from "./erofs_mount.ts";
import { ErofsTasks, imagePath } from "./erofs_tasks.ts";
import type { PlacedImage } from "./placed_image.ts";

const log = logger("mount", "erofs");

/** Options of a mount. */
export interface ErofsFuseOptions {
  /** Directory of the image file, on a file system that supports EROFS on files. */
  readonly stateDir: string;
  /** Whether cache files may be used as devices; false if they are watched for other images. */
  readonly mayUseCacheFiles: boolean;
  /** Maximum time to open blobs in order to see whether they are complete, milliseconds. */
  readonly deadlineMs: number;
  /** Nothing is mounted before it resolves, or if it rejects. */
  readonly mayMount?: Promise<void>;
  /** Threads that are already starting; terminated here. */
  readonly tasks?: ErofsTasks | undefined;
}

/**
 * Mounts the image. Makes its image file, starts the session and opens its blobs concurrently, as these wait for the CPU,
 * threads and the backend respectively.
 *
 * @param needSession returns the session, starting it if necessary; it must answer each open, so that device files are
 * not cached a second time
 * @throws {NydusGdError} "invalid-image", "unsupported": not an image for EROFS; "environment", "io"
 */
export async function mountErofsFuse(
  { image, number, target }: PlacedImage,
  needSession: () => Promise<FuseSession>,
  watch: UnmountWatch,
  { stateDir, mayUseCacheFiles, deadlineMs, mayMount, tasks: begun = new ErofsTasks() }: ErofsFuseOptions,
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
  // the super block has the devices open, so their names can go; what keeps the image alive is its reference
  await served[Symbol.asyncDispose]();
  return mount;
}

/**
 * Opens the blobs that may be complete, by index. A blob that was never read is not: the mount does not wait for chunk
 * tables to be fetched.
 */
function openStored(stores: readonly ChunkStore[], signal: AbortSignal): Map<number, Promise<OpenBlob>> {
  const stored = [...stores.keys()].filter((index) => stores[index]?.mayBeStored ?? true);
  const blobs = openBlobs(stored.map((index) => stores[index] as ChunkStore), signal);
  return new Map(blobs.map((blob, k) => [stored[k] as number, blob]));
}

/** Returns both results once both have settled: what one uses must not be disposed while it still runs. */
async function bothOf<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/** Returns the path of the blob's cache file, if it can be the device. */
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

/**
 * Returns `image` as {@link FuseSession.takeOver} needs it if its super block outlived the process that made it, and
 * whether the kernel reads a damaged file.
 */
export async function onRecomputedDevices(
  image: MountableImage,
  stateDir: string,
): Promise<{ readonly image: MountableImage; readonly isDamaged: boolean }> {
  const { devices, isDamaged } = await recomputeDevices(image, stateDir);
  return { image: onDevices(image, devices), isDamaged };
}

/** Returns the mount on `target`, whose devices are `served`: just made, or taken over. */
export function erofsMountOf(
  served: ShownImage,
  session: FuseSession,
  watch: UnmountWatch,
  target: string,
): ImageMount {
  // nothing but the super block has the devices open, so its end tells what the successor of a killed process cannot
  const gone = watch.gone(target).then(() => served.releaseUncounted());
  const ended = session.ended.catch(() => undefined); // reported to whoever started the session
  return {
    fsDriver: "erofs-fuse",
    path: target,
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
