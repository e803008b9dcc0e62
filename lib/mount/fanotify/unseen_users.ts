/**
 * Finds out whether an image that is not mounted any more is still in use: overlays and open files keep its super block,
 * and that keeps its devices open.
 *
 * @module
 */
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { isOpenElsewhere, O, openat } from "../../../ffi/fcntl.ts";
import { ignore, messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { idOf } from "../../blob/cache/blob_names.ts";
import { blobFileOf } from "../../blob/cache/blob_paths.ts";
import type { MountableImage } from "../image_mount.ts";
import { copyName } from "./watched_device.ts";

const log = logger("mount", "fanotify");

/**
 * Whether anybody has a device of the image open, under any description of its blobs. True if that cannot be told.
 *
 * @param cache the cache folder, in which this process has opened no blob of the image
 * @param copies the folder of copies, likewise
 */
export async function hasUnseenUsers({ name, blobs }: MountableImage, cache: Fd, copies: Fd): Promise<boolean> {
  const ids = new Set(blobs.map(({ id }) => id));
  const isOfImage = (file: string) => ids.has(idOf(blobFileOf(file)?.name ?? ""));
  const own = new Set(blobs.map((_, index) => copyName(name, index)));
  const isCopy = (file: string) => own.has(file);
  try {
    return await isAnyOpen(cache, isOfImage) || await isAnyOpen(copies, isCopy);
  } catch (error) {
    log.warn("users of an unmounted image are unknown, it stays until the end", {
      image: name,
      error: messageOf(error),
    });
    return true;
  }
}

async function isAnyOpen(folder: Fd, isMeant: (file: string) => boolean): Promise<boolean> {
  const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(procFdPath(folder)))) ?? [];
  for (const { name, isFile } of entries) {
    if (!isFile || !isMeant(name)) continue;
    using file = openat(folder, name, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    if (isOpenElsewhere(file)) return true;
  }
  return false;
}
