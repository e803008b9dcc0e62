/**
 * Probes whether EROFS on files works here and does not show zeros for data that its devices lack.
 *
 * Until early 2026 kernels filled missing data of a device file with zeros and kept them as valid. A read that is cut
 * short (by the end of a file, or by a signal) must be EIO before anything can be served this way. So an image of one
 * file is mounted whose device is too short, and read. This runs in the calling thread, since plain files need nobody
 * to answer.
 *
 * The kernel reads and caches whole pages, which are larger than blocks on some machines (arm64: up to 64 KiB). If one
 * block of a page is missing, all of them are errors; so whatever has to be told apart are different pages.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { pageSize } from "../../../ffi/sys_mman.ts";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { pread } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { BLOB_FEATURE } from "../../rafs/format/flags.ts";
import { BootstrapWriter } from "../../rafs/v6/writer.ts";
import { mountErofs } from "./erofs_mount.ts";
import { probePath } from "./probe_places.ts";

/** Number of chunks of the file. */
export const PROBE_CHUNKS = 4;
/** Bytes that its device has of the second chunk; it has all of the first, and none of the others. */
const PART_BYTES = 1000;

/** Size of a chunk of the file in bytes: a page of this machine. */
export function probeChunkBytes(): number {
  return pageSize();
}

/**
 * Probes in `dir`, an existing directory on the file system that images will be on.
 *
 * @throws {NydusGdError} "environment" when it cannot be used, with the reason; {SyscallError} other errors of the
 * kernel
 */
export function probeErofs(dir: string): void {
  const probe = probePath(dir);
  Deno.mkdirSync(probe, { mode: 0o700 });
  try {
    const target = `${probe}/mnt`, image = `${probe}/image`, device = `${probe}/device`;
    Deno.mkdirSync(target);
    const chunkBytes = probeChunkBytes();
    Deno.writeFileSync(image, imageOfOneFile(chunkBytes));
    Deno.writeFileSync(device, new Uint8Array(chunkBytes + PART_BYTES).fill(1));
    mountErofs({ image, devices: [device], target, readAheadKb: 128 });
    try {
      requireErrors(`${target}/file`, chunkBytes);
    } finally {
      umount2(target, MNT.DETACH);
    }
  } finally {
    Deno.removeSync(probe, { recursive: true });
  }
}

function requireErrors(path: string, chunkBytes: number): void {
  using file = open(path, O.RDONLY);
  const chunk = new Uint8Array(chunkBytes);
  for (let index = PROBE_CHUNKS - 1; index >= 0; index--) {
    const isWhole = index === 0;
    const seen = isWhole ? "an error where there is data" : "zeros where there is no data";
    if (canRead(() => pread(file, chunk, index * chunkBytes)) !== isWhole) {
      throw new NydusGdError("environment", `Cannot use EROFS: kernel ${Deno.osRelease()} shows ${seen}`);
    }
  }
}

function canRead(use: () => number): boolean {
  try {
    return use() > 0;
  } catch (error) {
    if (isErrno(error, "EIO")) return false;
    throw error;
  }
}

/**
 * Makes an image with `/file` of {@link PROBE_CHUNKS} chunks, which are those of its only device.
 *
 * @param chunkSize in bytes
 */
export function imageOfOneFile(chunkSize: number): Uint8Array<ArrayBuffer> {
  const writer = new BootstrapWriter({ chunkSize, compressor: "none", digester: "sha256" });
  const owner = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };
  const root = writer.addInode({ ...owner, mode: 0o040500 });
  const size = PROBE_CHUNKS * chunkSize;
  const chunks = Array.from({ length: PROBE_CHUNKS }, (_, index) => ({
    blobIndex: 0,
    chunkIndex: index,
    uncompressedOffset: index * chunkSize,
  }));
  const file = writer.addInode({ ...owner, mode: 0o100400, size, chunks });
  writer.addEntry(root, new TextEncoder().encode("file"), file);
  return writer.finish([{
    index: 0,
    id: "probe",
    compressor: "none",
    digester: "sha256",
    chunkSize,
    chunkCount: PROBE_CHUNKS,
    features: BLOB_FEATURE.aligned,
    compressedSize: size,
    uncompressedSize: size,
    meta: undefined,
  }]);
}
