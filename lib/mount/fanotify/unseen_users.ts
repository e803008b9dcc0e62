/**
 * Finds out whether an image that is not mounted any more is still in use: overlays and open files keep its super block,
 * and that keeps its devices open.
 *
 * @module
 */
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { AT, isOpenElsewhere, O, openat } from "../../../ffi/fcntl.ts";
import { statat } from "../../../ffi/sys_stat.ts";
import { ignore, messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { idOf } from "../../blob/cache/blob_names.ts";
import { blobFileOf } from "../../blob/cache/blob_paths.ts";
import type { MountableImage } from "../image_mount.ts";
import { copyName } from "./watched_device.ts";

const log = logger("mount", "fanotify");

/** A file in an open folder. */
interface NamedIn {
  readonly folder: Fd;
  readonly name: string;
}

/**
 * Inodes of the files that have the names of the image's devices, under any description of its blobs.
 *
 * @param cache the cache folder
 * @param copies the folder of copies
 */
export async function inodesOf(image: MountableImage, cache: Fd, copies: Fd): Promise<bigint[]> {
  const files = await filesOf(image, cache, copies);
  return files.map(({ folder, name }) => BigInt(statat(folder, name, AT.SYMLINK_NOFOLLOW).ino));
}

/**
 * Whether anybody has a device of the image open, under any description of its blobs. True if that cannot be told.
 *
 * @param cache the cache folder, in which this process has opened no blob of the image
 * @param copies the folder of copies, likewise
 */
export async function hasUnseenUsers(image: MountableImage, cache: Fd, copies: Fd): Promise<boolean> {
  try {
    return (await filesOf(image, cache, copies)).some(isOpen);
  } catch (error) {
    log.warn("users of an unmounted image are unknown, it stays until the end", {
      image: image.name,
      error: messageOf(error),
    });
    return true;
  }
}

function isOpen({ folder, name }: NamedIn): boolean {
  using file = openat(folder, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
  return isOpenElsewhere(file);
}

async function filesOf({ name, blobs }: MountableImage, cache: Fd, copies: Fd): Promise<NamedIn[]> {
  const ids = new Set(blobs.map(({ id }) => id));
  const own = new Set(blobs.map((_, index) => copyName(name, index)));
  return [
    ...await filesIn(cache, (file) => ids.has(idOf(blobFileOf(file)?.name ?? ""))),
    ...await filesIn(copies, (file) => own.has(file)),
  ];
}

async function filesIn(folder: Fd, isMeant: (file: string) => boolean): Promise<NamedIn[]> {
  const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(procFdPath(folder)))) ?? [];
  return entries.filter(({ name, isFile }) => isFile && isMeant(name)).map(({ name }) => ({ folder, name }));
}
