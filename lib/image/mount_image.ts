/**
 * One image, mounted by hand: `nydus-gd mount BOOTSTRAP DIR`.
 *
 * ```
 * what the user named ──► bootstrap file ──► OpenImage ──► FuseSession with the image as its root ──► DIR
 * ```
 * Everything that the mount needs beside the cache (unpacked bootstrap, request file) is in a state folder of its own,
 * which goes with the mount.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Backend } from "../backend/blob_source.ts";
import { ignore, NydusGdError } from "../base/errors.ts";
import { BlobCache } from "../blob/blob_cache.ts";
import { lockFile } from "../layer/home_lock.ts";
import { FuseSession } from "../mount/fuse/session.ts";
import { findBootstrap } from "./find_bootstrap.ts";
import { OpenImage } from "./open_image.ts";

/** Below this, a folder for each mount. */
export const MOUNTS_DIR = "/var/lib/nydus-gd/mounts";

/** What {@link mountImage} needs. */
export interface MountImageOptions {
  /** The file that the user named. */
  readonly source: string;
  /** An existing folder, absolute, without links. */
  readonly dir: string;
  /** Folder for what the mount needs beside the cache, see {@link makeStateDir}. */
  readonly stateDir: string;
  readonly backend: Backend;
  /** Where blobs are kept; undefined: in the state folder, so they go with the mount. */
  readonly cacheDir: string | undefined;
  readonly workers: number;
}

/** A mounted image. Disposing unmounts, by force where it is in use. */
export interface MountedImage extends AsyncDisposable {
  readonly fsDriver: string;
  /** Absolute path of the mount, without links. */
  readonly dir: string;
  /** Resolves when the mount is gone, whoever unmounted it. */
  readonly ended: Promise<void>;
}

/** Image number of a mount that has one image. */
const ONLY_IMAGE = 1;

/** Mounts; usable when it resolves. On failure nothing is left. */
export async function mountImage(options: MountImageOptions): Promise<MountedImage> {
  const { dir, stateDir } = options;
  await using cleanup = new AsyncDisposableStack();
  const { path: bootstrapPath, container } = await findBootstrap(options.source, `${stateDir}/image.boot`);
  const cache = cleanup.use(BlobCache.open(options.cacheDir ?? `${stateDir}/cache`));
  const image = cleanup.use(
    OpenImage.open({ name: "image", bootstrapPath, container, backend: options.backend, cache }),
  );
  const session = cleanup.use(
    await FuseSession.start({
      mountpoint: dir,
      stateDir,
      workers: options.workers,
      single: { image, number: ONLY_IMAGE },
    }),
  );
  const owned = cleanup.move();
  return {
    fsDriver: "fuse",
    dir,
    ended: session.ended,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The state folder of one mount. Disposing removes it. */
export interface StateDir extends AsyncDisposable {
  readonly path: string;
  /** The place of the mount, absolute, without links. */
  readonly dir: string;
}

/**
 * Makes the state folder of a mount on `dir`: a function of the place, so that whoever mounts there finds it.
 *
 * @throws {NydusGdError} "not-found" when `dir` is no folder, "busy" when another process mounts there
 */
export async function makeStateDir(dir: string): Promise<StateDir> {
  const info = await ignore(Deno.errors.NotFound, Deno.stat(dir));
  if (!info?.isDirectory) {
    const state = info === undefined ? "there is no such folder" : "it is not a folder";
    throw new NydusGdError("not-found", `Cannot mount on ${dir}: ${state}`, { hint: `mkdir -p ${dir}` });
  }
  const real = await Deno.realPath(dir);
  const path = `${MOUNTS_DIR}/${createHash("sha256").update(real).digest("hex").slice(0, 16)}`;
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  const lock = lockFile(`${path}/lock`, `mount on "${real}"`);
  return {
    path,
    dir: real,
    [Symbol.asyncDispose]: async () => {
      lock[Symbol.dispose]();
      await ignore(Deno.errors.NotFound, Deno.remove(path, { recursive: true }));
    },
  };
}
