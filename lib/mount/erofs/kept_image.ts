/**
 * Image files for the kernel, kept between mounts. Runs in the calling thread; making one belongs in the Worker.
 *
 * A file is trusted if its digest is right and it was made from this very bootstrap (rafs/erofs_image_file.ts);
 * otherwise it is made again. It is not synced: after a power failure an incomplete file fails its digest. The check
 * reads the whole file sequentially, so that the kernel finds all metadata of a fresh mount in memory.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { MADV, Mapping } from "../../../ffi/sys_mman.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { writeAll } from "../../../ffi/unistd.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import type { DeviceTable } from "../../rafs/device_table.ts";
import { makeErofsImage } from "../../rafs/erofs_image.ts";
import { decodeErofsFile, digestOf, encodeErofsFile, imageUuid } from "../../rafs/erofs_image_file.ts";
import { openBootstrap } from "../../rafs/open.ts";

/**
 * Makes sure that the image of `bootstrap` is at `path`, and returns its devices.
 *
 * @throws {RafsError} as {@link makeErofsImage}; {NydusGdError} "io"
 */
export function keepImage(bootstrap: Uint8Array, path: string): readonly DeviceTable[] {
  const digest = digestOf(bootstrap);
  const kept = readKept(path, digest);
  if (kept !== undefined) return kept;
  const image = makeErofsImage(openBootstrap(bootstrap), imageUuid(digest));
  replace(path, encodeErofsFile(image, digest));
  return image.devices;
}

/**
 * Returns the devices of the image kept at `path`; undefined if it is not an image of `bootstrap`.
 *
 * @throws {NydusGdError} "io"
 */
export function keptDevices(bootstrap: Uint8Array, path: string): readonly DeviceTable[] | undefined {
  return readKept(path, digestOf(bootstrap));
}

function readKept(path: string, bootstrap: Uint8Array): DeviceTable[] | undefined {
  try {
    using file = open(path, O.RDONLY | O.NOFOLLOW);
    const { size } = fstat(file);
    if (size === 0) return undefined;
    using mapping = Mapping.ofFile(file, size);
    mapping.advise(MADV.WILLNEED);
    return decodeErofsFile(mapping.bytes, bootstrap);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw cannot("read", path, error);
  }
}

/** Replaces the file under its name: a mounted image keeps the old one. */
function replace(path: string, pieces: readonly Uint8Array[]): void {
  const aside = `${path}.tmp`;
  try {
    {
      using file = open(aside, O.WRONLY | O.CREAT | O.TRUNC | O.NOFOLLOW, 0o600);
      for (const piece of pieces) writeAll(file, piece);
    }
    Deno.renameSync(aside, path);
  } catch (error) {
    throw cannot("write", path, error);
  }
}

function cannot(verb: string, path: string, error: unknown): NydusGdError {
  return new NydusGdError("io", `Cannot ${verb} EROFS image ${path}: ${messageOf(error)}`, { cause: error });
}
