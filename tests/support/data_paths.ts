/**
 * The data paths that tests go through: those that the kernel of a test machine has, or those that
 * `NYDUS_GD_TEST_DATA_PATHS` names, such as "erofs-fscache,fuse", where the kernel is another one (tests/vm).
 *
 * @module
 */
import { type FsDriver, namedFsDriver } from "../../lib/mount/choose.ts";

/** What a kernel of today has. */
const USUAL: readonly FsDriver[] = ["erofs-fanotify", "erofs-fuse", "fuse"];

/** Each of them is tested; one that cannot be had is a failure. */
export const TESTED_DATA_PATHS: readonly FsDriver[] = named(Deno.env.get("NYDUS_GD_TEST_DATA_PATHS")) ?? USUAL;

function named(list: string | undefined): FsDriver[] | undefined {
  return list?.split(",").map((name) => namedFsDriver(name)).filter((driver) => driver !== undefined);
}
