/**
 * Layers and names that try to reach the host: what `image/image.boot` may be, and ids that are paths.
 *
 * The host has a valid bootstrap where the layers point to, so that following one would be noticed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { concatenate } from "../../lib/base/bytes.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess, RemoteError } from "../support/serve/graph_driver_process.ts";
import { fixtureOf, readFixtureBootstrap } from "../support/rafs/rafs_fixtures.ts";
import { pax, rawHeader, special } from "../support/archive/tar_blocks.ts";
import { device, dir, fifo, file, hardlink, symlink, tarOf, type TestEntry } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";

interface Parts {
  readonly driver: GraphDriverProcess;
  /** A folder on the host with `image.boot` and `secret`. */
  readonly host: string;
  readonly bootstrap: Uint8Array;
  readonly home: string;
}

async function withDriver(test: (parts: Parts) => Promise<void>): Promise<void> {
  using temp = TempDir.make();
  const host = temp.join("host");
  const bootstrap = await readFixtureBootstrap(fixtureOf("v6-odd-root"));
  Deno.mkdirSync(host);
  Deno.writeFileSync(`${host}/image.boot`, bootstrap);
  Deno.writeTextFileSync(`${host}/secret`, "of the host");
  try {
    await using driver = await GraphDriverProcess.start(temp.path);
    const home = temp.join("home");
    await driver.call("GraphDriver.Init", { Home: home });
    await test({ driver, host, bootstrap, home });
  } finally {
    unmountBelow(temp.path);
  }
}

type Kind = readonly [name: string, entries: (parts: Parts) => readonly TestEntry[]];

/** Layers shaped like a bootstrap layer whose bootstrap is not a regular file of their own. */
const SIMILAR_LAYERS: readonly Kind[] = [
  ["a symbolic link to a bootstrap", ({ host }) => [dir("image"), symlink("image/image.boot", `${host}/image.boot`)]],
  ["a symbolic link by way of the root", ({ host }) => [
    dir("image"),
    symlink("image/image.boot", `${"../".repeat(30)}${host}/image.boot`),
  ]],
  ["a folder that is a symbolic link", ({ host }) => [symlink("image", host)]],
  ["a symbolic link in the root", ({ host }) => [symlink("image.boot", `${host}/image.boot`)]],
  ["a symbolic link through /proc", () => [dir("image"), symlink("image/image.boot", "/proc/self/exe")]],
  ["a FIFO", () => [dir("image"), fifo("image/image.boot")]],
  ["a FIFO in the root", () => [fifo("image.boot")]],
  ["a character device", () => [dir("image"), device("image/image.boot", "char", 1, 5)]],
  ["a block device", () => [dir("image"), device("image/image.boot", "block", 7, 0)]],
  ["a folder", () => [dir("image"), dir("image/image.boot"), file("image/image.boot/x", "y")]],
];

fuseTest("a bootstrap that is not a regular file of the layer itself is ignored", () =>
  withDriver(async (parts) => {
    const { driver } = parts;
    for (const [i, [name, entries]] of SIMILAR_LAYERS.entries()) {
      const id = `layer${i}`;
      await driver.call("GraphDriver.Create", { ID: id });
      await driver.apply(id, tarOf(...entries(parts)));
      const { Metadata } = await driver.call("GraphDriver.GetMetadata", { ID: id });
      assert.deepEqual(Object.keys(Metadata as object), ["UpperDir"], name);
      // it is an ordinary layer: mounted below another one it shows the content of the tar
      await driver.call("GraphDriver.CreateReadWrite", { ID: `${id}-box`, Parent: id });
      const { Dir } = await driver.call("GraphDriver.Get", { ID: `${id}-box` });
      const shown = listTree(String(Dir)).map(({ path }) => path);
      assert.ok(shown.every((path) => path === "/" || path.startsWith("/image")), `${name}: ${shown}`);
      await driver.call("GraphDriver.Put", { ID: `${id}-box` });
    }
  }));

/** Layers that are refused, with their error messages. */
const REFUSED: readonly (readonly [name: string, tar: (parts: Parts) => Uint8Array<ArrayBuffer>, message: RegExp])[] = [
  [
    "a hard link out of the layer",
    ({ host }) => tarOf(dir("image"), hardlink("image/image.boot", `${host}/image.boot`)),
    /hard link target .* is not in this layer/,
  ],
  [
    "a hard link out of the layer by ..",
    ({ host }) => tarOf(dir("image"), hardlink("image/image.boot", `../../..${host}/image.boot`)),
    /outside the layer|not in this layer/,
  ],
  [
    "a hard link through a symbolic link",
    ({ host }) => tarOf(dir("image"), symlink("image/l", host), hardlink("image/image.boot", "image/l/image.boot")),
    /not in this layer/,
  ],
  ["an empty bootstrap", () => tarOf(dir("image"), file("image/image.boot")), /Cannot read bootstrap .*it is empty/],
  ["a bootstrap of zeros", () => tarOf(file("image.boot", new Uint8Array(8192))), /Cannot read RAFS super block/],
  ["a sparse bootstrap of a terabyte", () => sparse(2 ** 40), /1099511627776 bytes exceed 2147483648/],
  ["a sparse bootstrap of a gigabyte", () => sparse(2 ** 30), /Cannot read RAFS super block at 1024: magic is/],
];

/** A file of one byte and a hole. */
function sparse(sizeBytes: number): Uint8Array<ArrayBuffer> {
  const records = [["GNU.sparse.size", `${sizeBytes}`], ["GNU.sparse.map", `${sizeBytes - 1},1`]];
  const header = rawHeader({ name: "image.boot", size: "00000000001", magic: "ustar\x0000" });
  return concatenate([
    special("x", pax(records as [string, string][])),
    header,
    new Uint8Array(512),
    new Uint8Array(1024),
  ]);
}

fuseTest("an invalid bootstrap is refused, and nothing of it is left", () =>
  withDriver(async (parts) => {
    const { driver, home } = parts;
    for (const [i, [name, tar, message]] of REFUSED.entries()) {
      const id = `layer${i}`;
      await driver.call("GraphDriver.Create", { ID: id });
      await assert.rejects(driver.apply(id, tar(parts)), (error) => {
        assert.ok(error instanceof RemoteError);
        assert.match(error.message, message, name);
        assert.ok(!error.message.includes("of the host"));
        return true;
      });
      assert.deepEqual([...Deno.readDirSync(`${home}/${id}/diff`)], [], name);
      await driver.call("GraphDriver.Remove", { ID: id });
    }
  }));

const PATHS = ["..", "../host", "../../etc", "/etc", "a/../../host", "l", ".", "", ".making", ".lock", "a/b", "%2e%2e"];
const CALLS = [
  "Create",
  "CreateReadWrite",
  "Get",
  "Put",
  "Remove",
  "GetMetadata",
  "Diff",
  "Changes",
  "DiffSize",
  "Exists",
];

fuseTest("no id of a call is used as a path", () =>
  withDriver(async ({ driver, host, home }) => {
    await driver.call("GraphDriver.Create", { ID: "base" });
    const before = [listTree(host), listTree(home)];
    for (const verb of CALLS) {
      for (const id of [...PATHS, "base\0", "base\n"]) {
        const requests = verb === "Create" || verb === "Diff" || verb === "Changes"
          ? [{ ID: id }, { ID: "new", Parent: id === "" ? ".." : id }]
          : [{ ID: id }];
        for (const request of requests) {
          await assert.rejects(
            driver.call(`GraphDriver.${verb}`, request),
            (error) => error instanceof RemoteError && !/internal/.test(error.message),
            `${verb} ${JSON.stringify(request)}`,
          );
        }
      }
    }
    for (const id of PATHS) {
      await assert.rejects(driver.apply(encodeURIComponent(id), tarOf(file("evil"))), RemoteError);
    }
    assert.deepEqual([listTree(host), listTree(home)], before);
  }));
