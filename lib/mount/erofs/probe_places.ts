/**
 * Where data paths are probed, and cleanup after a process that was killed meanwhile.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { ignore } from "../../base/errors.ts";

/** Prefix of the names of directories (with mounts in them) and devices. */
const PREFIX = "data-path-probe-";

/** Returns a unique path in `dir`. */
export function probePath(dir: string): string {
  return `${dir}/${PREFIX}${crypto.randomUUID()}`;
}

/** Removes what killed processes left in these directories. No other process may be probing there meanwhile. */
export async function clearProbes(...dirs: string[]): Promise<void> {
  for (const dir of new Set(dirs)) {
    const left = mountsBelow(dir).filter(({ mountPoint }) => mountPoint.startsWith(`${dir}/${PREFIX}`));
    for (const { mountPoint } of left) umount2(mountPoint, MNT.DETACH);
    for await (const { name } of Deno.readDir(dir)) {
      if (!name.startsWith(PREFIX)) continue;
      await ignore(Deno.errors.NotFound, Deno.remove(`${dir}/${name}`, { recursive: true }));
    }
  }
}
