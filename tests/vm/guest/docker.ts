/**
 * dockerd on our graph driver, with lazy images by the first of the data paths that are tested.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TESTED_DATA_PATHS } from "../../support/data_paths.ts";
import { fixture, INSTALLED, withStack } from "../../support/docker_stack.ts";
import { readListing } from "../../support/rafs_fixtures.ts";

const [FS_DRIVER] = TESTED_DATA_PATHS;
const NO_NETWORK = ["--network", "none"];
/** An image of each version of RAFS. */
const IMAGES = ["v6-prefetch-fs", "v5-lz4-sha256-64k"];
/** How many files of an image are compared. */
const FILES = 12;

/** Regular files of an image, and their digests, as sha256sum prints them. */
function filesOf(name: string): { readonly paths: string[]; readonly lines: string[] } {
  const files = readListing(fixture(name).listing)
    .filter(({ type, path }) => type === "reg" && !path.includes("%"))
    .slice(0, FILES);
  return { paths: files.map(({ path }) => path), lines: files.map(({ path, sha256 }) => `${sha256}  ${path}`) };
}

Deno.test({
  name: "containers of lazy images run side by side, write, and are removed",
  ignore: INSTALLED.missing !== undefined,
  fn: () =>
    withStack(async ({ stack, registry }) => {
      for (const name of IMAGES) {
        const reference = await registry.pushLazy(name, `lazy/${name}`);
        await stack.docker("pull", reference);
        await stack.docker("run", "--detach", "--name", name, ...NO_NETWORK, reference, "/bin/sleep", "1000");
      }
      for (const name of IMAGES) {
        const { paths, lines } = filesOf(name);
        const digests = await stack.docker("exec", name, "/bin/sha256sum", ...paths);
        assert.deepEqual(digests.split("\n"), lines);
        const graph = JSON.parse(await stack.docker("inspect", "--format", "{{json .GraphDriver}}", name));
        assert.equal(graph.Data.fs_driver, FS_DRIVER);
      }
      const [first = ""] = IMAGES;
      const [path = ""] = filesOf(first).paths;
      await stack.docker("exec", first, "/bin/sh", "-c", `echo changed >${path}`);
      assert.equal(await stack.docker("exec", first, "/bin/cat", path), "changed");
      assert.equal(await stack.docker("diff", first), `C ${path.slice(0, path.lastIndexOf("/"))}\nC ${path}`);
      await stack.docker("rm", "--force", ...IMAGES);
      assert.deepEqual(await stack.overlays(), []);
    }, { flags: ["--storage-opt", `nydus-gd.fs-driver=${FS_DRIVER}`] }),
});
