/**
 * Removal of images: what it costs, and what becomes of cached data when the server was killed before, so that it is
 * not known who still uses the image.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import { dirname } from "node:path";
import { bootstrapLayerTar } from "../../lib/image/build/image_builder.ts";
import { loadLayer } from "../../lib/layer/record/layer.ts";
import { HomePaths } from "../../lib/layer/record/layer_paths.ts";
import { writeFinished } from "../../lib/layer/record/layer_record.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { GraphDriverProcess } from "../support/serve/graph_driver_process.ts";
import { LazyContainer } from "../support/serve/lazy_container.ts";
import { fixtureOf, readFixtureBootstrap } from "../support/rafs/rafs_fixtures.ts";
import { makePlainLayer } from "../support/layer/plain_layer.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

/** Whether the cache has a file of the image's blob. */
function isCached({ stateDir, blobId }: LazyContainer): boolean {
  return [...Deno.readDirSync(`${dirname(stateDir)}/cache`)].some(({ name }) => name.startsWith(blobId));
}

async function crash({ driver }: LazyContainer): Promise<void> {
  await driver.kill();
  await driver.restart();
}

async function removeLayers({ driver }: LazyContainer, ...ids: string[]): Promise<void> {
  for (const ID of ids) {
    await driver.call("GraphDriver.Put", { ID });
    await driver.call("GraphDriver.Remove", { ID });
  }
}

for (const fsDriver of TESTED_DATA_PATHS.filter((each) => each !== "fuse")) {
  fuseTest(`the data of an image that was taken over from a killed server goes with it (${fsDriver})`, async () => {
    await using container = await LazyContainer.start(fsDriver);
    await Deno.readFile(`${container.root}/3`);
    await crash(container);
    ok(isCached(container));
    await removeLayers(container, "box", "image");
    await until("the data is removed", () => !isCached(container));
  });
}

fuseTest("what cannot be removed, as the end of its last use is not known, is removed by a later server", async () => {
  await using container = await LazyContainer.start("fuse");
  await Deno.readFile(`${container.root}/3`);
  await crash(container);
  await removeLayers(container, "box", "image");
  ok(isCached(container), "it may still be in use");
  await crash(container);
  await until("the data is removed", () => !isCached(container));
});

fuseTest("data of a removed image that a new layer needs is kept", async () => {
  await using container = await LazyContainer.start("fuse");
  const { driver, stateDir } = container;
  const image = dirname(container.root).replace(/box$/, "image");
  const tar = bootstrapLayerTar(await Deno.readFile(`${image}/diff/image/image.boot`));
  await Deno.readFile(`${container.root}/3`);
  await crash(container);
  await removeLayers(container, "box", "image");
  const unwanted = `${dirname(stateDir)}/cache/.nydus-gd.unwanted`;
  const before = await Deno.readTextFile(unwanted);
  await driver.call("GraphDriver.Create", { ID: "again" });
  await driver.apply("again", tar);
  await driver.kill();
  await Deno.writeTextFile(unwanted, before); // as if it was killed before it knew
  await driver.restart();
  await crash(container);
  ok(isCached(container));
  await removeLayers(container, "again");
  await crash(container);
  await until("the data is removed", () => !isCached(container));
});

fuseTest("removing an image reads nothing of the others, however many there are", async () => {
  using temp = TempDir.make();
  const home = new HomePaths(temp.join("home"));
  for (const folder of [home.links, home.making, home.removing]) await Deno.mkdir(folder, { recursive: true });
  const bootstrap = await readFixtureBootstrap(fixtureOf("v6-prefetch-fs"));
  const ids = Array.from({ length: 60 }, (_, index) => `image${index}`);
  for (const id of ids) {
    await makePlainLayer(home, id);
    const { paths } = await loadLayer(home, id);
    await Deno.writeFile(`${paths.diff}/image.boot`, bootstrap);
    const root = { mode: 0o755, uid: 0, gid: 0 };
    await writeFinished(paths, { opaque: false, bootstrap: { path: "image.boot", root } });
  }
  await using driver = await GraphDriverProcess.start(temp.path);
  await driver.call("GraphDriver.Init", { Home: home.home, Opts: null });
  const readsOf = async (ID: string) => {
    const before = readCalls(driver.pid);
    await driver.call("GraphDriver.Remove", { ID });
    return readCalls(driver.pid) - before;
  };
  await readsOf("image0"); // learns which blobs the others have
  const many = Math.min(await readsOf("image1"), await readsOf("image2"));
  for (const id of ids.slice(3, -2)) await readsOf(id);
  const few = Math.max(await readsOf("image58"), await readsOf("image59"));
  ok(many < few + ids.length, `${many} reads with many images, ${few} with few`);
});

/** Number of read calls that a process has made. */
function readCalls(pid: number): number {
  return Number(/^syscr: (\d+)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/io`))?.[1]);
}
