/**
 * Unmounts what tests have left.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";
import { unmountAll } from "../../../lib/layer/overlay/overlay_mount.ts";
import { rootTest } from "../root_test.ts";
import { TempDir } from "../temp_dir.ts";

/** Unmounts everything below `folder`, in reverse order of mounting. */
export function unmountBelow(folder: string): void {
  for (const { mountPoint } of mountsBelow(folder).reverse()) unmountAll(mountPoint);
}

/** A test that mounts within `dir`, a folder of its own. */
export function mountingTest(name: string, run: (dir: string) => void | Promise<void>): void {
  rootTest(name, async () => {
    using temp = TempDir.make();
    try {
      await run(temp.path);
    } finally {
      unmountBelow(temp.path);
    }
  });
}
