/**
 * Disks of virtual machines: files that outlive a machine, so that the next one finds what the last one wrote.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";

/** What a disk holds and where it is seen. */
export interface DiskOptions {
  readonly sizeBytes: number;
  /** The file system that it gets, whose `mkfs` is installed here. */
  readonly fsType: string;
  /** Further arguments of `mkfs`. */
  readonly makeOptions?: readonly string[];
  /** Where a machine mounts it. */
  readonly mountPoint: string;
  /** As `mount -o` takes them. */
  readonly mountOptions?: string;
}

/** A sparse file with a file system. */
export interface Disk extends DiskOptions {
  readonly path: string;
}

/**
 * Makes a disk.
 *
 * @param path does not exist yet; whoever made its folder removes it
 * @throws {NydusGdError} "environment" with what mkfs said
 */
export async function makeDisk(path: string, options: DiskOptions): Promise<Disk> {
  await Deno.writeFile(path, new Uint8Array());
  await Deno.truncate(path, options.sizeBytes);
  const args = ["-q", ...options.makeOptions ?? [], path];
  const { success, stderr } = await new Deno.Command(`mkfs.${options.fsType}`, { args }).output();
  if (success) return { ...options, path };
  const said = new TextDecoder().decode(stderr).trim();
  throw new NydusGdError("environment", `Cannot make a disk with ${options.fsType}: ${said}`);
}

/** The script that mounts disks in a machine, in the order in which they were given to it. */
export function mountScript(disks: readonly Disk[]): string {
  return disks.map(({ fsType, mountPoint, mountOptions = "defaults" }, index) => {
    const device = `/dev/vd${String.fromCharCode("a".charCodeAt(0) + index)}`;
    return `modprobe ${fsType} && mkdir -p ${mountPoint} && mount -t ${fsType} -o ${mountOptions} ${device} ${mountPoint}`;
  }).join("\n");
}
