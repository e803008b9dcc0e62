/**
 * Where data paths are tried, and what a process that was killed meanwhile left there.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { ignore } from "../../base/errors.ts";

/** What names of folders, mounts below them, and devices begin with. */
const PREFIX = "data-path-probe-";

/** A path in `dir` that nobody else has. */
export function probePath(dir: string): string {
  return `${dir}/${PREFIX}${crypto.randomUUID()}`;
}

/** Takes away what killed processes left in these folders. No other process may try anything there meanwhile. */
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
