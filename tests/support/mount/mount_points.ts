/**
 * What is mounted, for tests that compare it.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";

/** The mount points at or below a folder, in the order of mounting. */
export function mountPointsBelow(folder: string): string[] {
  return mountsBelow(folder).map(({ mountPoint }) => mountPoint);
}
