/**
 * Mounts a single image: `nydus-gd mount BOOTSTRAP DIR`.
 *
 * ```
 * named image ──► bootstrap file ──► OpenImage ──► mount of this image alone ──► DIR
 * ```
 * Files of the mount besides the cache (unpacked bootstrap, request file) are in a state folder of its own, which is
 * removed with the mount. A mount whose server died is taken over if it is of the same image.
 *
 * @module
 */
import * as v from "valibot";
import type { Backend } from "../../backend/blob_source.ts";
import { Deadline } from "../../base/abort.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";
import type { SizeLimit } from "../../base/setting_values.ts";
import { trimMemory } from "../../base/trim_memory.ts";
import { BlobCache, type BlobCacheOptions } from "../../blob/blob_cache.ts";
import { chooseDataPath } from "../../mount/choose.ts";
import { EarlyThreads } from "../../mount/early_threads.ts";
import { clearProbes } from "../../mount/erofs/probe_places.ts";
import type { ImageMount } from "../../mount/image_mount.ts";
import { mountSingle, type SingleMountOptions, takeOverSingle } from "../../mount/mount_single.ts";
import { findBootstrap } from "../source/find_bootstrap.ts";
import { type ImagePrefetchOptions, startPrefetch } from "../prefetch/image_prefetch.ts";
import { checkInodeDigests } from "../tree/inode_digests.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";
import { dropImagePages, OpenImage } from "../open_image.ts";
import { sha256OfFile } from "../../base/file_digest.ts";

const log = logger("image");

/** Options of {@link mountImage}. */
export interface MountImageOptions {
  /** The file that the user named, or that was made of it. */
  readonly source: string;
  /** What it is to the user. Default: its path. */
  readonly sourceName?: string;
  /** An existing folder: an absolute path without symbolic links. */
  readonly dir: string;
  /** Folder for files of the mount besides the cache, see mount_state.ts. */
  readonly stateDir: string;
  /** Whether to take over the mount of a server that died. */
  readonly takeOver: boolean;
  readonly backend: Backend;
  /** Folder of the cache. Undefined: in the state folder, removed with the mount. */
  readonly cacheDir: string | undefined;
  /** How the cache fetches, and whether it keeps data. */
  readonly fetching: Partial<BlobCacheOptions>;
  /** What to prefetch; undefined: nothing. */
  readonly prefetch: ImagePrefetchOptions["scope"] | undefined;
  /** Free space on the cache's file system below which prefetch stops. */
  readonly minFree: SizeLimit;
  /** A data path, or "auto". A mount that is taken over keeps its own. */
  readonly fsDriver: string;
  /** Whether "auto" tries erofs-fscache first. */
  readonly prefersFscache?: boolean;
  /** Called with a warning about an explicitly requested data path. */
  readonly warn?: (warning: string) => void;
  /** Whether to verify inode digests: tree/inode_digests.ts. */
  readonly validate: boolean;
  readonly workers: number;
  /** Threads that are already starting, owned from now on. */
  readonly threads?: EarlyThreads;
  /** How long a read waits for data before it fails with EIO. Also limits the initial check of the blobs. */
  readonly deadlineMs: number;
  /** Aborts mounting, not the mount. */
  readonly signal: AbortSignal;
}

/** A mounted image. Disposing unmounts it, even if it is in use. */
export interface MountedImage extends AsyncDisposable {
  readonly fsDriver: string;
  /** Absolute path of the mount, without symbolic links. */
  readonly dir: string;
  /** Resolves when the mount is gone, whoever unmounted it. */
  readonly ended: Promise<void>;
}

/** Identifies the mounted image: SHA-256 of its bootstrap. */
const Note = v.object({ bootstrap: v.string() });

/** Mounts an image, which is usable once this resolves. A failure leaves nothing behind. */
export async function mountImage(options: MountImageOptions): Promise<MountedImage> {
  const { dir, stateDir, source, sourceName = source } = options;
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(trimMemory(dropImagePages));
  using threads = options.threads ?? new EarlyThreads(options);
  if (options.takeOver) threads.tasks?.[Symbol.dispose]();
  const { path: bootstrapPath, container } = await findBootstrap(source, `${stateDir}/image.boot`, sourceName);
  const cache = cleanup.use(BlobCache.open(options.cacheDir ?? `${stateDir}/cache`, options.fetching));
  const image = cleanup.use(
    OpenImage.open({
      name: "image",
      bootstrap: MappedBootstrap.open(bootstrapPath),
      container,
      backend: options.backend,
      cache,
    }),
  );
  if (options.validate) await checkInodeDigests(image.tree);
  const { workers, deadlineMs, minFree } = options;
  const { ownMount: cacheMount } = cache;
  const cacheDir = cache.stats().dir;
  const places = {
    mountpoint: dir,
    stateDir,
    workers,
    deadlineMs,
    cacheMount,
    cacheDir,
    minFree,
    thread: threads.fuse,
  };
  const mount = cleanup.use(
    options.takeOver
      ? await takeOver({ places, image, bootstrapPath })
      : await start({ places, image, bootstrapPath }, options, threads),
  );
  image.openAhead();
  if (options.prefetch !== undefined) {
    cleanup.use(startPrefetch(image, cache, options.minFree, { scope: options.prefetch }));
  }
  const owned = cleanup.move();
  return {
    fsDriver: mount.fsDriver,
    dir,
    ended: mount.released,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** An image and where it is mounted. */
interface Mounting {
  readonly places: SingleMountOptions;
  readonly image: OpenImage;
  readonly bootstrapPath: string;
}

/** Creates a new mount, and notes its image for {@link takeOver}. */
async function start(
  { places, image, bootstrapPath }: Mounting,
  options: MountImageOptions,
  { tasks }: EarlyThreads,
): Promise<ImageMount> {
  const reachable = requireBlobs(image, options);
  const noted = note(places.stateDir, bootstrapPath);
  const mayMount = Promise.all([reachable, noted]).then(() => undefined);
  mayMount.catch(() => undefined); // mountSingle reports it
  try {
    await clearProbes(places.stateDir, places.cacheDir);
    const dataPath = await chooseDataPath(options.fsDriver, places, options);
    log.debug("data path chosen", { fsDriver: dataPath.fsDriver, reason: dataPath.reason });
    if (dataPath.warning !== undefined) options.warn?.(dataPath.warning);
    if (dataPath.fsDriver === "fuse") tasks?.[Symbol.dispose]();
    return await mountSingle(image, dataPath, { ...places, mayMount, tasks });
  } finally {
    await Promise.allSettled([noted]); // it must not write after the folder is removed
  }
}

async function note(stateDir: string, bootstrapPath: string): Promise<void> {
  await writeJsonFile(notePath(stateDir), { bootstrap: await sha256OfFile(bootstrapPath) }, "process");
}

/** Takes over the mount of a server that died. Refuses a different image, whose bytes waiting programs would get. */
async function takeOver({ places, image, bootstrapPath }: Mounting): Promise<ImageMount> {
  const { mountpoint, stateDir } = places;
  const hint = `nydus-gd umount ${mountpoint}`;
  const note = v.safeParse(Note, await ignore(SyntaxError, readJsonFile(notePath(stateDir))));
  if (!note.success || note.output.bootstrap !== await sha256OfFile(bootstrapPath)) {
    throw new NydusGdError("busy", `Cannot mount on ${mountpoint}: another image is mounted there`, { hint });
  }
  const taken = await takeOverSingle(image, places);
  if (taken !== undefined) return taken;
  throw new NydusGdError("busy", `Cannot mount on ${mountpoint}: a mount is there that is no longer served`, {
    hint,
  });
}

function notePath(stateDir: string): string {
  return `${stateDir}/image.json`;
}

/**
 * Refuses an image whose blobs cannot be reached, instead of failing reads with EIO later. With a persistent cache,
 * which may have everything, an unreachable backend only causes a warning.
 */
async function requireBlobs(image: OpenImage, options: MountImageOptions): Promise<void> {
  const { source, sourceName = source, backend, cacheDir, deadlineMs, signal } = options;
  const timeoutError = () =>
    new NydusGdError("unavailable", `${backend.description} gave no answer within ${deadlineMs} ms`);
  using deadline = new Deadline(deadlineMs, signal, timeoutError);
  try {
    await Promise.all(image.requiredBlobIds.map((id) => backend.blob(id).size(deadline.signal)));
  } catch (error) {
    if (!(error instanceof NydusGdError) || error.code === "interrupted") throw error;
    if (cacheDir !== undefined && error.code === "unavailable") {
      log.warn("backend of the blobs does not answer", { home: backend.description, error: error.message });
      return;
    }
    throw new NydusGdError(error.code, `Cannot mount ${sourceName}: a blob is out of reach (${error.message})`, {
      hint: error.hint ?? "check --blob-dir, or device.backend of --config",
      cause: error,
    });
  }
}
