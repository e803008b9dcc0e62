/**
 * One image, mounted by hand: `nydus-gd mount BOOTSTRAP DIR`.
 *
 * ```
 * what the user named ──► bootstrap file ──► OpenImage ──► the image as the mount itself ──► DIR
 * ```
 * Everything that the mount needs beside the cache (unpacked bootstrap, request file) is in a state folder of its own,
 * which goes with the mount. A mount whose server died is taken over when it is of the same image.
 *
 * @module
 */
import * as v from "valibot";
import type { Backend } from "../backend/blob_source.ts";
import { Deadline } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import { logger } from "../base/log.ts";
import type { SizeLimit } from "../base/setting_values.ts";
import { trimMemory } from "../base/trim_memory.ts";
import { BlobCache, type BlobCacheOptions } from "../blob/blob_cache.ts";
import { chooseDataPath } from "../mount/choose.ts";
import { ErofsTasks } from "../mount/erofs/erofs_tasks.ts";
import { clearProbes } from "../mount/erofs/probe_places.ts";
import type { ImageMount } from "../mount/image_mount.ts";
import { mountSingle, type SingleMountOptions, takeOverSingle } from "../mount/mount_single.ts";
import { findBootstrap } from "./source/find_bootstrap.ts";
import { type ImagePrefetchOptions, startPrefetch } from "./lazy/image_prefetch.ts";
import { checkInodeDigests } from "./inode_digests.ts";
import { dropImagePages, MappedBootstrap, OpenImage } from "./open_image.ts";
import { sha256OfFile } from "./source/file_digest.ts";

const log = logger("image");

/** What {@link mountImage} needs. */
export interface MountImageOptions {
  /** The file that the user named. */
  readonly source: string;
  /** An existing folder, absolute, without links. */
  readonly dir: string;
  /** Folder for what the mount needs beside the cache, see mount_state.ts. */
  readonly stateDir: string;
  /** A mount is there whose server has died: go on with it. */
  readonly takeOver: boolean;
  readonly backend: Backend;
  /** Where blobs are kept; undefined: in the state folder, so they go with the mount. */
  readonly cacheDir: string | undefined;
  /** How the cache fetches, and whether it keeps what was fetched. */
  readonly fetching: Partial<BlobCacheOptions>;
  /** What is prefetched; undefined: nothing. */
  readonly prefetch: ImagePrefetchOptions["scope"] | undefined;
  /** Space on the cache's file system below which nothing is prefetched. */
  readonly minFree: SizeLimit;
  /** A data path, or "auto"; a mount that is taken over keeps its own. */
  readonly fsDriver: string;
  /** "auto" looks at erofs-fscache first. */
  readonly prefersFscache?: boolean;
  /** Told what somebody who asked for the data path should know. */
  readonly warn?: (warning: string) => void;
  /** Digests of files are to be checked, too: inode_digests.ts. */
  readonly validate: boolean;
  readonly workers: number;
  /** How long a program waits for data; then it gets EIO. Also for the first answer of the blobs' home. */
  readonly deadlineMs: number;
  /** Ends the mounting, not the mount. */
  readonly signal: AbortSignal;
}

/** A mounted image. Disposing unmounts, by force where it is in use. */
export interface MountedImage extends AsyncDisposable {
  readonly fsDriver: string;
  /** Absolute path of the mount, without links. */
  readonly dir: string;
  /** Resolves when the mount is gone, whoever unmounted it. */
  readonly ended: Promise<void>;
}

/** What a mount is of: SHA-256 of its bootstrap. */
const Note = v.object({ bootstrap: v.string() });

/** Mounts; usable when it resolves. On failure all is as it was. */
export async function mountImage(options: MountImageOptions): Promise<MountedImage> {
  const { dir, stateDir } = options;
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(trimMemory(dropImagePages));
  const mayBeErofs = !options.takeOver && options.fsDriver !== "fuse";
  // while everything else is done: it is what a mount by erofs-fuse waits for
  using tasks = mayBeErofs ? new ErofsTasks() : undefined;
  const { path: bootstrapPath, container } = await findBootstrap(options.source, `${stateDir}/image.boot`);
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
  const places = { mountpoint: dir, stateDir, workers, deadlineMs, cacheMount, cacheDir, minFree };
  const mount = cleanup.use(
    options.takeOver
      ? await takeOver(places, image, bootstrapPath)
      : await start(places, image, bootstrapPath, options, tasks),
  );
  image.openAhead();
  if (options.prefetch !== undefined) cleanup.use(startPrefetch(image, cache, options.prefetch, options.minFree));
  const owned = cleanup.move();
  return {
    fsDriver: mount.fsDriver,
    dir,
    ended: mount.released,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A new mount. What it is of is noted, for {@link takeOver}. */
async function start(
  places: SingleMountOptions,
  image: OpenImage,
  bootstrapPath: string,
  options: MountImageOptions,
  tasks: ErofsTasks | undefined,
): Promise<ImageMount> {
  const reachable = requireBlobs(image, options);
  const noted = note(places.stateDir, bootstrapPath);
  const mayMount = Promise.all([reachable, noted]).then(() => undefined);
  mayMount.catch(() => undefined); // mountSingle fails of it
  try {
    await clearProbes(places.stateDir, places.cacheDir);
    const dataPath = await chooseDataPath(options.fsDriver, places, options);
    if (dataPath.warning !== undefined) options.warn?.(dataPath.warning);
    return await mountSingle(image, dataPath, { ...places, mayMount, tasks });
  } finally {
    await Promise.allSettled([noted]); // or it would write into a folder that goes
  }
}

async function note(stateDir: string, bootstrapPath: string): Promise<void> {
  await writeJsonFile(notePath(stateDir), { bootstrap: await sha256OfFile(bootstrapPath) }, "process");
}

/** Goes on with the mount of a server that died: programs that wait for it would else get the bytes of another image. */
async function takeOver(places: SingleMountOptions, image: OpenImage, bootstrapPath: string): Promise<ImageMount> {
  const { mountpoint, stateDir } = places;
  const hint = `nydus-gd umount ${mountpoint}`;
  const note = v.safeParse(Note, await readJsonFile(notePath(stateDir)));
  if (!note.success || note.output.bootstrap !== await sha256OfFile(bootstrapPath)) {
    throw new NydusGdError("busy", `Cannot mount on ${mountpoint}: another image is mounted there`, { hint });
  }
  const taken = await takeOverSingle(image, places);
  if (taken !== undefined) return taken;
  throw new NydusGdError("busy", `Cannot mount on ${mountpoint}: a mount is there that nobody serves any more`, {
    hint,
  });
}

function notePath(stateDir: string): string {
  return `${stateDir}/image.json`;
}

/**
 * Refuses an image whose blobs cannot be had, before a program gets EIO. A home that does not answer is only warned of
 * where there is a cache that may have everything.
 */
async function requireBlobs(image: OpenImage, options: MountImageOptions): Promise<void> {
  const { source, backend, cacheDir, deadlineMs, signal } = options;
  const late = () => new NydusGdError("unavailable", `${backend.description} gave no answer within ${deadlineMs} ms`);
  using deadline = new Deadline(deadlineMs, signal, late);
  try {
    await Promise.all(image.idsAtHome.map((id) => backend.blob(id).size(deadline.signal)));
  } catch (error) {
    if (!(error instanceof NydusGdError) || error.code === "interrupted") throw error;
    if (cacheDir !== undefined && error.code === "unavailable") {
      log.warn("home of the blobs does not answer", { home: backend.description, error: error.message });
      return;
    }
    throw new NydusGdError(error.code, `Cannot mount ${source}: a blob is out of reach (${error.message})`, {
      hint: error.hint ?? "check --blob-dir, or device.backend of --config",
      cause: error,
    });
  }
}
