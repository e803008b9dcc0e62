/**
 * Cached data of an image that is removed after its server was killed, when it is not known who still uses the image.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import { dirname } from "node:path";
import { bootstrapLayerTar } from "../../lib/image/image_builder.ts";
import { TESTED_DATA_PATHS } from "../support/data_paths.ts";
import { fuseTest } from "../support/fuse_mount_kit.ts";
import { LazyContainer } from "../support/lazy_container.ts";
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
