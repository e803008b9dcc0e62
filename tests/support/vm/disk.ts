/**
 * Disks of virtual machines: files that outlive a machine, so that the next one sees what the last one wrote.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";

/** File system of a disk and its mount point. */
export interface DiskOptions {
  readonly sizeBytes: number;
  /** Type of the file system, whose `mkfs` is installed on the host. */
  readonly fsType: string;
  /** Additional arguments of `mkfs`. */
  readonly makeOptions?: readonly string[];
  /** Mount point in the machine. */
  readonly mountPoint: string;
  /** Options for `mount -o`. */
  readonly mountOptions?: string;
}

/** A sparse file with a file system. */
export interface GuestDisk extends DiskOptions {
  readonly path: string;
}

/**
 * Creates a disk.
 *
 * @param path must not exist; the owner of its folder removes it
 * @throws {NydusGdError} "environment" with the output of mkfs
 */
export async function makeDisk(path: string, options: DiskOptions): Promise<GuestDisk> {
  await Deno.writeFile(path, new Uint8Array());
  await Deno.truncate(path, options.sizeBytes);
  const args = ["-q", ...options.makeOptions ?? [], path];
  const { success, stderr } = await new Deno.Command(`mkfs.${options.fsType}`, { args }).output();
  if (success) return { ...options, path };
  const said = new TextDecoder().decode(stderr).trim();
  throw new NydusGdError("environment", `Cannot make a disk with ${options.fsType}: ${said}`);
}

/** Script that mounts the disks in a machine, in the order in which they are attached. */
export function mountScript(disks: readonly GuestDisk[]): string {
  return disks.map(({ fsType, mountPoint, mountOptions = "defaults" }, index) => {
    const device = `/dev/vd${String.fromCharCode("a".charCodeAt(0) + index)}`;
    return `modprobe ${fsType} && mkdir -p ${mountPoint} && mount -t ${fsType} -o ${mountOptions} ${device} ${mountPoint}`;
  }).join("\n");
}
