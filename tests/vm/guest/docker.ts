/**
 * dockerd with our graph driver and lazy images by the first tested data path, where the file system of TMPDIR has
 * project quotas. A single dockerd serves all tests, because starting it takes most of the time in an emulated machine.
 *
 * @module
 */
import assert from "node:assert/strict";
import { TESTED_DATA_PATHS } from "../../support/mount/data_paths.ts";
import { INSTALLED, type Stack, withStack } from "../../support/docker/docker_stack.ts";
import { fixtureOf, readListing } from "../../support/rafs/rafs_fixtures.ts";

const [FS_DRIVER] = TESTED_DATA_PATHS;
const NO_NETWORK = ["--network", "none"];
/** One image per RAFS version. */
const IMAGES = ["v6-prefetch-fs", "v5-lz4-sha256-64k"];
/** Number of files to compare per image. */
const FILES = 12;

/** Prints the container's free space in KiB, then fills it. */
const FILL = "busybox df -k / | busybox awk 'END { print $2 }'; busybox dd if=/dev/zero of=/file bs=1M count=64";

/** Regular files of an image with their digests, in the format of sha256sum. */
function filesOf(name: string): { readonly paths: string[]; readonly lines: string[] } {
  const files = readListing(fixtureOf(name).listing)
    .filter(({ type, path }) => type === "reg" && !path.includes("%"))
    .slice(0, FILES);
  return { paths: files.map(({ path }) => path), lines: files.map(({ path, sha256 }) => `${sha256}  ${path}`) };
}

async function runLazyImages({ stack, registry }: Stack): Promise<void> {
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
}

async function fillContainers({ stack, registry }: Stack): Promise<void> {
  const image = await registry.pushClassic("limited/busybox");
  await stack.docker("pull", "--quiet", image);
  const write = (...options: string[]) =>
    stack.daemon.docker(["run", "--rm", ...NO_NETWORK, ...options, image, "/bin/busybox", "sh", "-c", FILL]);
  const [limited, byDefault] = [await write("--storage-opt", "size=24m"), await write()];
  for (const { stderr } of [limited, byDefault]) assert.match(stderr, /No space left|quota exceeded/i);
  assert.deepEqual([limited.stdout.trim(), byDefault.stdout.trim()], ["24576", "16384"]);
}

Deno.test({
  name: "dockerd",
  ignore: INSTALLED.missing !== undefined,
  fn: (t) =>
    withStack(async (parts) => {
      await t.step("containers of lazy images run side by side, write, and are removed", () => runLazyImages(parts));
      await t.step(
        "docker run --storage-opt size and the driver's own option limit what a container writes",
        () => fillContainers(parts),
      );
    }, { flags: ["fs-driver=" + FS_DRIVER, "size=16m"].flatMap((option) => ["--storage-opt", `nydus-gd.${option}`]) }),
});
