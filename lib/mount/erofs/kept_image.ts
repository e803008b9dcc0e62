/**
 * Image files for the kernel, kept between mounts. Runs in the calling thread; making one belongs in the Worker.
 *
 * A file is trusted if its digest is right and it was made from this very bootstrap (rafs/erofs/erofs_image_file.ts);
 * otherwise it is made again. It is synced before it gets its name: the kernel reads it without a digest, and would find
 * zeros where the disk refuses what was written. The check reads the whole file sequentially, so that the kernel finds
 * all metadata of a fresh mount in memory.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { MADV, Mapping } from "../../../ffi/sys_mman.ts";
import { fstat, S } from "../../../ffi/sys_stat.ts";
import { equalBytes } from "../../base/bytes.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { replaceFileSync } from "../../base/replace_file.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import { type ErofsImage, makeErofsImage, setImageUuid } from "../../rafs/erofs/erofs_image.ts";
import {
  decodeErofsFile,
  digestOf,
  encodeErofsFile,
  imageUuid,
  isOfAnotherLayout,
} from "../../rafs/erofs/erofs_image_file.ts";
import { openBootstrap } from "../../rafs/open.ts";

/** An image that was made in advance. */
export interface PreparedImage {
  readonly image: ErofsImage;
  /** Digest of the bootstrap. */
  readonly digest: Uint8Array;
}

/**
 * Makes the image of the bootstrap in the file at `path`. Returns undefined if there is none, or no image can be made of
 * it: {@link keepImage} will tell why.
 */
export async function prepareImage(path: string): Promise<PreparedImage | undefined> {
  try {
    using file = open(path, O.RDONLY | O.NONBLOCK);
    const { size, mode } = fstat(file);
    if ((mode & S.IFMT) !== S.IFREG) return undefined;
    using mapping = Mapping.ofFile(file, size);
    const tree = openBootstrap(mapping.bytes); // at once refuses a file that is something else, however large
    const digesting = digestOf(mapping.bytes);
    return await withUuid(makeErofsImage(tree), digesting);
  } catch {
    return undefined;
  }
}

/** Gives a new image the UUID for its bootstrap's digest. */
async function withUuid(image: ErofsImage, digesting: Uint8Array | Promise<Uint8Array>): Promise<PreparedImage> {
  const digest = await digesting;
  setImageUuid(image, await imageUuid(digest));
  return { image, digest };
}

/**
 * Makes sure that the image of `bootstrap` is at `path`, and returns its devices.
 *
 * @param prepared an image that was made in advance, perhaps of another bootstrap
 * @throws {RafsError} as {@link makeErofsImage}; {NydusGdError} "io"
 */
export async function keepImage(
  bootstrap: Uint8Array<ArrayBuffer>,
  path: string,
  prepared?: PreparedImage,
): Promise<readonly DeviceTable[]> {
  const digest = await digestOf(bootstrap);
  const kept = await readKept(path, digest);
  if (kept !== undefined) return kept;
  const isSame = prepared !== undefined && equalBytes(prepared.digest, digest);
  const { image } = isSame ? prepared : await withUuid(makeErofsImage(openBootstrap(bootstrap)), digest);
  const file = await encodeErofsFile(image, digest);
  try {
    replaceFileSync(path, file);
  } catch (error) {
    const hint = error instanceof Deno.errors.IsADirectory ? `mv ${path} ${path}.aside` : undefined;
    throw cannot("write", path, error, hint);
  }
  return image.devices;
}

/**
 * Returns the devices of the image kept at `path`; undefined if it is not an image of `bootstrap`.
 *
 * @throws {NydusGdError} "io"
 */
export async function keptDevices(
  bootstrap: Uint8Array<ArrayBuffer>,
  path: string,
): Promise<readonly DeviceTable[] | undefined> {
  return await readKept(path, await digestOf(bootstrap));
}

/**
 * Whether the file at `path`, of which {@link keptDevices} made nothing, is damaged; if it is not, it is missing, or
 * another version made it.
 *
 * @throws {NydusGdError} "io"
 */
export async function isDamaged(path: string): Promise<boolean> {
  const entry = await ignore(Deno.errors.NotFound, Deno.stat(path));
  return entry?.isFile === true && (await readFile(path, (file) => Promise.resolve(!isOfAnotherLayout(file))) ?? true);
}

async function readKept(path: string, bootstrap: Uint8Array): Promise<DeviceTable[] | undefined> {
  return await readFile(path, (file) => decodeErofsFile(file, bootstrap));
}

/** Returns what `read` makes of the file; undefined if there is none, or it is empty. */
async function readFile<T>(
  path: string,
  read: (file: Uint8Array<ArrayBuffer>) => Promise<T | undefined>,
): Promise<T | undefined> {
  try {
    using file = open(path, O.RDONLY | O.NOFOLLOW);
    const { size, mode } = fstat(file);
    if (size === 0 || (mode & S.IFMT) !== S.IFREG) return undefined;
    using mapping = Mapping.ofFile(file, size);
    mapping.advise(MADV.WILLNEED);
    return await read(mapping.bytes);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw cannot("read", path, error);
  }
}

function cannot(verb: string, path: string, error: unknown, hint?: string): NydusGdError {
  return new NydusGdError("io", `Cannot ${verb} EROFS image ${path}: ${messageOf(error)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
