/**
 * Unmounts what a test has left.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";
import { unmountAll } from "../../../lib/layer/overlay/overlay_mount.ts";

/** Unmounts everything below `folder`, in reverse order of mounting. */
export function unmountBelow(folder: string): void {
  for (const { mountPoint } of mountsBelow(folder).reverse()) unmountAll(mountPoint);
}
