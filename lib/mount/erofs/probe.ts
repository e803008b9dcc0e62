/**
 * Probes whether EROFS on files works here and does not show zeros for data that its devices lack.
 *
 * Until early 2026 kernels filled missing data of a device file with zeros and kept them as valid. A read that is cut
 * short (by the end of a file, or by a signal) must be EIO before anything can be served this way. So an image of one
 * file is mounted whose device is too short, and read. This runs in the calling thread, since plain files need nobody
 * to answer.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { pread } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { BLOB_FEATURE } from "../../rafs/format/flags.ts";
import { BootstrapWriter } from "../../rafs/v6/writer.ts";
import { mountErofs } from "./erofs_mount.ts";
import { probePath } from "./probe_places.ts";

/** Block size of the file in bytes. */
export const PROBE_BLOCK = 4096;
/** Number of blocks of the file. */
export const PROBE_BLOCKS = 4;
/** Size of its device in bytes: the first block, and a part of the second. */
const DEVICE_BYTES = PROBE_BLOCK + 1000;

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
    Deno.writeFileSync(image, imageOfOneFile());
    Deno.writeFileSync(device, new Uint8Array(DEVICE_BYTES).fill(1));
    mountErofs({ image, devices: [device], target, readAheadKb: 128 });
    try {
      requireErrors(`${target}/file`);
    } finally {
      umount2(target, MNT.DETACH);
    }
  } finally {
    Deno.removeSync(probe, { recursive: true });
  }
}

function requireErrors(path: string): void {
  using file = open(path, O.RDONLY);
  const block = new Uint8Array(PROBE_BLOCK);
  for (let index = PROBE_BLOCKS - 1; index >= 0; index--) {
    const isWhole = (index + 1) * PROBE_BLOCK <= DEVICE_BYTES;
    const seen = isWhole ? "an error where there is data" : "zeros where there is no data";
    if (canRead(() => pread(file, block, index * PROBE_BLOCK)) !== isWhole) {
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

/** Makes an image with `/file` of {@link PROBE_BLOCKS} blocks, which are those of its only device. */
export function imageOfOneFile(): Uint8Array<ArrayBuffer> {
  const writer = new BootstrapWriter({ chunkSize: PROBE_BLOCK, compressor: "none", digester: "sha256" });
  const owner = { uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };
  const root = writer.addInode({ ...owner, mode: 0o040500 });
  const chunks = Array.from({ length: PROBE_BLOCKS }, (_, index) => ({
    blobIndex: 0,
    chunkIndex: index,
    uncompressedOffset: index * PROBE_BLOCK,
  }));
  const file = writer.addInode({ ...owner, mode: 0o100400, size: PROBE_BLOCKS * PROBE_BLOCK, chunks });
  writer.addEntry(root, new TextEncoder().encode("file"), file);
  return writer.finish([{
    index: 0,
    id: "probe",
    compressor: "none",
    digester: "sha256",
    chunkSize: PROBE_BLOCK,
    chunkCount: PROBE_BLOCKS,
    features: BLOB_FEATURE.aligned,
    compressedSize: PROBE_BLOCKS * PROBE_BLOCK,
    uncompressedSize: PROBE_BLOCKS * PROBE_BLOCK,
    meta: undefined,
  }]);
}
