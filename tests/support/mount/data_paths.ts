/**
 * The data paths to test: those that the kernel of a usual test machine supports, or those listed in
 * `NYDUS_GD_TEST_DATA_PATHS`, such as "erofs-fscache,fuse", for other kernels (tests/vm).
 *
 * @module
 */
import { type FsDriver, namedFsDriver } from "../../../lib/mount/data_path.ts";

/** Data paths of a current kernel. */
const USUAL: readonly FsDriver[] = ["erofs-fanotify", "erofs-fuse", "fuse"];

/** All of them are tested; one that is unavailable is a failure. */
export const TESTED_DATA_PATHS: readonly FsDriver[] = named(Deno.env.get("NYDUS_GD_TEST_DATA_PATHS")) ?? USUAL;

function named(list: string | undefined): FsDriver[] | undefined {
  return list?.split(",").map((name) => namedFsDriver(name)).filter((driver) => driver !== undefined);
}
