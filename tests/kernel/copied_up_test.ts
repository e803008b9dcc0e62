/**
 * A file of a lazy image remains the same file for a container that changes it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { LazyContainer } from "../support/serve/lazy_container.ts";

/** What tells whether two names are one file. */
function identity(path: string): string {
  const { dev, ino } = Deno.lstatSync(path);
  return `${dev}:${ino}`;
}

// FUSE file systems have no UUID, without which an overlay does not look for the file that was copied.
for (const fsDriver of TESTED_DATA_PATHS.filter((path) => path !== "fuse")) {
  fuseTest(
    `a file of the image that is changed or gets another link keeps its inode number (${fsDriver})`,
    async () => {
      await using container = await LazyContainer.start(fsDriver);
      const [changed, linked] = ["1", "2"].map((name) => `${container.root}/${name}`) as [string, string];
      const before = [changed, linked].map(identity);
      Deno.chmodSync(changed, 0o600);
      Deno.linkSync(linked, `${linked}-too`);
      assert.deepEqual([changed, linked, `${linked}-too`].map(identity), [...before, before[1]]);
      assert.deepEqual(Deno.readFileSync(`${linked}-too`), container.content(2));
    },
  );
}
