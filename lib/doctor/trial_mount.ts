/**
 * End-to-end trial: mounts a tiny image by each data path, mounts an overlay on top, and compares the files read
 * through both.
 *
 * ```
 * <beside the cache>/.nydus-gd-doctor/   locked; blobs/ image.boot state/ cache/ mnt/ overlay/
 * ```
 * The directory has a fixed name: if a doctor was killed, the next one cleans up after it, including mounts and keeper.
 *
 * @module
 */
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { statfs } from "../../ffi/sys_statfs.ts";
import { LocalFsBackend } from "../backend/localfs.ts";
import { unlessAborted } from "../base/abort.ts";
import { equalBytes } from "../base/bytes.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import { mountImage } from "../image/mount/mount_image.ts";
import { lockFile } from "../base/server_lock.ts";
import { mountOverlay, unmountAll } from "../layer/overlay/overlay_mount.ts";
import { removeTree } from "../base/remove_tree.ts";
import { DATA_PATHS, type FsDriver } from "../mount/data_path.ts";
import { FanotifyImages } from "../mount/fanotify/fanotify_images.ts";
import { FscacheImages } from "../mount/fscache/fscache_images.ts";
import { FuseSession } from "../mount/fuse/session.ts";
import { type Check, failedWith, ok, type Outcome, skipped } from "./check.ts";
import type { Installation } from "./installation.ts";
import { nearestFolder } from "./scratch.ts";
import { makeTrialImage, type TrialImage } from "./trial_image.ts";

const GROUP = "trial";
const FOLDER = ".nydus-gd-doctor";
/** Allows for starting Workers and mounting. */
const TIMEOUT_MS = 30_000;
/** More than the image, its cache and the state of the mount take. */
const ROOM_BYTES = 4 * 1024 * 1024;
/** Timeout of a read; the data are in a directory beside the mount. */
const DEADLINE_MS = 5_000;

/** Returns one check per data path of this version. */
export function trialChecks(installation: Installation): Check[] {
  return DATA_PATHS.toReversed().map((fsDriver) => ({
    group: GROUP,
    name: `mount by ${fsDriver}`,
    timeoutMs: TIMEOUT_MS,
    run: (signal) => tryMount(installation, fsDriver, signal),
  }));
}

async function tryMount(
  { isRoot, cacheDir, settings }: Installation,
  fsDriver: FsDriver,
  signal: AbortSignal,
): Promise<Outcome> {
  if (!isRoot) return skipped("mounting needs root", "sudo nydus-gd doctor");
  const place = await nearestFolder(cacheDir);
  const { blockSize, availableBlocks } = statfs(place);
  if (availableBlocks * blockSize < ROOM_BYTES) return skipped(`${place} has no room for a trial mount`);
  const dir = `${place}/${FOLDER}`;
  try {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
    using _lock = lockFile(`${dir}/lock`, `trial in "${dir}"`);
    try {
      await clear(dir);
      const startedAt = performance.now();
      const image = await makeTrialImage();
      const bytes = await mountAndRead(image, { dir, fsDriver, workers: settings.mount.workers, signal });
      const tookMs = Math.round(performance.now() - startedAt);
      return ok(`${bytes} bytes read through it and through an overlay, all of them correct (${tookMs} ms)`);
    } finally {
      await clear(dir);
      await removeTree(dir);
    }
  } catch (error) {
    if (hasCode(error, "busy")) return skipped(`another doctor is running in ${dir}`);
    const isWanted = fsDriver === "fuse" || settings.mount.fsDriver === fsDriver;
    return isWanted ? failedWith(error) : skipped(`not available here: ${failedWith(error).seen}`);
  }
}

interface TrialOptions {
  readonly dir: string;
  readonly fsDriver: FsDriver;
  readonly workers: number;
  readonly signal: AbortSignal;
}

/**
 * Returns the number of bytes read, counting both passes. @throws {NydusGdError} "corrupt" when they differ from the
 * image
 */
async function mountAndRead(image: TrialImage, { dir, fsDriver, workers, signal }: TrialOptions): Promise<number> {
  for (const folder of ["blobs", "state", "mnt", "below", "overlay"]) await Deno.mkdir(`${dir}/${folder}`);
  await Deno.writeFile(`${dir}/blobs/${image.blobId}`, image.blob);
  await Deno.writeFile(`${dir}/image.boot`, image.bootstrap);
  await using mounted = await mountImage({
    source: `${dir}/image.boot`,
    dir: `${dir}/mnt`,
    stateDir: `${dir}/state`,
    takeOver: false,
    backend: LocalFsBackend.inFolder(`${dir}/blobs`),
    cacheDir: `${dir}/cache`,
    fetching: {},
    prefetch: undefined,
    minFree: { bytes: 0 },
    validate: false,
    fsDriver,
    workers,
    deadlineMs: DEADLINE_MS,
    signal,
  });
  // A read that is never answered ends with the mount.
  let bytes = await unlessAborted(compare(image, mounted.dir), signal);
  mountOverlay({ lowers: [mounted.dir, `${dir}/below`] }, `${dir}/overlay`);
  try {
    bytes += await unlessAborted(compare(image, `${dir}/overlay`), signal);
  } finally {
    unmountAll(`${dir}/overlay`);
  }
  return bytes;
}

async function compare({ files, link: [link, target] }: TrialImage, dir: string): Promise<number> {
  let bytes = 0;
  for (const [path, expected] of files) {
    const seen = await Deno.readFile(`${dir}/${path}`);
    if (!equalBytes(seen, expected)) throw wrong(path);
    bytes += seen.length;
  }
  if (await Deno.readLink(`${dir}/${link}`) !== target) throw wrong(link);
  return bytes;
}

function wrong(path: string): NydusGdError {
  return new NydusGdError("corrupt", `Cannot trust the mount: "${path}" is not what the image holds`, {
    hint: "do not use this kernel, and report it",
  });
}

/** Removes what a killed doctor has left. */
async function clear(dir: string): Promise<void> {
  await FuseSession.abandon(`${dir}/state`);
  for (const { mountPoint } of mountsBelow(dir).reverse()) umount2(mountPoint, MNT.DETACH);
  await FanotifyImages.abandon(`${dir}/state`);
  await FscacheImages.abandon(`${dir}/state`);
  for await (const { name } of Deno.readDir(dir)) if (name !== "lock") await removeTree(`${dir}/${name}`);
}
