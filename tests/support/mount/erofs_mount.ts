/**
 * Images mounted by the kernel's EROFS without nydus-gd.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { isErrno } from "../../../ffi/errno.ts";
import { mount, MS, umount2 } from "../../../ffi/sys_mount.ts";
import type { Bootstrap } from "../../../lib/rafs/bootstrap.ts";
import { MemoryBlob } from "../rafs/rafs_fixtures.ts";
import { isRoot } from "../root_test.ts";

/** Whether this process may mount EROFS; {@link mountErofs} tells whether the kernel mounts it from files. */
export const canMountErofs = isRoot && /\terofs$/m.test(Deno.readTextFileSync("/proc/filesystems"));
if (!canMountErofs) console.log("skipped without root or EROFS in /proc/filesystems: images in the kernel's EROFS");

/** The program of erofs-utils that checks and extracts images. */
export const FSCK = "/usr/bin/fsck.erofs";
export const hasFsck = existsSync(FSCK);
if (!hasFsck) console.log(`skipped without ${FSCK} (package erofs-utils): images checked by fsck.erofs`);

/** Mounts the image until the object is disposed; undefined if the kernel requires a block device. */
export function mountErofs(image: string, devices: readonly string[], at: string): Disposable | undefined {
  try {
    mount(image, at, "erofs", MS.RDONLY, devices.map((device) => `device=${device}`).join(","));
  } catch (error) {
    if (!isErrno(error, "ENOTBLK")) throw error;
    console.log("skipped: this kernel mounts EROFS from block devices only (Linux 6.12 mounts it from files)");
    return undefined;
  }
  return { [Symbol.dispose]: () => umount2(at, 0) };
}

/** Writes the address space of a blob to a file, as a device of the image. */
export async function writeAddressSpace(
  bootstrap: Bootstrap,
  blobIndex: number,
  blob: Uint8Array,
  path: string,
): Promise<void> {
  const descriptor = bootstrap.blobs[blobIndex];
  if (descriptor === undefined) throw new Error(`Cannot write ${path}: the image has no blob ${blobIndex}`);
  const memory = MemoryBlob.open(bootstrap, descriptor, blob);
  using file = await Deno.open(path, { write: true, createNew: true });
  await file.truncate(Math.ceil(descriptor.uncompressedSize / 4096) * 4096);
  for (let i = 0; i < memory.columns.count; i++) {
    if (!memory.hasDigest(i)) continue; // used by no file
    await file.seek(memory.columns.uncompressedOffset[i] as number, Deno.SeekMode.Start);
    const chunk = await memory.chunk(i);
    for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
  }
}
