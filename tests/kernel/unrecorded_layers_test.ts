/**
 * Layers that a dockerd made and did not record before it was killed.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { dockerRecords } from "../../lib/image/docker/layers.ts";
import { rootTest } from "../support/root_test.ts";
import { StoreHome, WITHOUT_DOCKER } from "../support/layer/store_home.ts";
import { container, layer, layersIn, lazyLayer } from "../support/layer/store_layers.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

const id = (digit: string) => digit.repeat(64);

/** Makes a record of dockerd. */
async function record(imageDir: string, path: string, layerId: string): Promise<void> {
  const file = `${imageDir}/layerdb/${path}`;
  await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(file, layerId);
}

/** Whether what is made now in a folder is younger than `path`. */
async function wasBornAfter(path: string, folder: string): Promise<boolean> {
  const probe = await Deno.makeTempFile({ dir: folder });
  const [made, other] = await Promise.all([Deno.stat(probe), Deno.stat(path)]);
  await Deno.remove(probe);
  return Number(made.birthtime) > Number(other.birthtime);
}

/** Makes the folders of dockerd's records; what is made afterwards is younger. */
async function begin(imageDir: string): Promise<void> {
  await Deno.mkdir(`${imageDir}/imagedb/content/sha256`, { recursive: true });
  await Deno.mkdir(`${imageDir}/layerdb/sha256`, { recursive: true });
  await until("the file system's clock has moved on", () => wasBornAfter(`${imageDir}/layerdb`, `${imageDir}/layerdb`));
}

rootTest("image layers that dockerd has no record of are removed when a dockerd starts", async () => {
  await using home = await StoreHome.make();
  const imageDir = `${home.scratch}/image`;
  let records = imageDir;
  const store = await home.reopen({
    dockerRecords: { ...WITHOUT_DOCKER.dockerRecords, layers: () => dockerRecords(records).layers() },
  });
  await begin(imageDir);
  await layer(store, id("a"), "", file("f", "of an image"));
  await container(store, id("b"), id("a"));
  await layer(store, id("c"), id("a"), file("f", "whole, of nobody"));
  await lazyLayer(home, id("d"));
  await layer(store, id("e"), id("d"), file("f", "on a lazy image of nobody"));
  await store.create(id("f"), { parent: id("e") });
  await store.applyDiff(id("f"), new Blob([tarOf(file("f", "cut off")).subarray(0, 600)]).stream()).catch(() => {});
  await store.create("other-client");
  await store.createReadWrite(id("0"), { parent: id("a") });
  await Deno.writeTextFile(`${home.path}/${id("0")}/diff/written`, "by a container");
  const all = layersIn(home.path);

  records = `${home.scratch}/others`;
  await store.beginAnew();
  deepEqual(layersIn(home.path), all, "dockerd has no records");
  await begin(records);
  await store.beginAnew();
  deepEqual(layersIn(home.path), all, "dockerd has lost its records");
  records = imageDir;

  await record(imageDir, `sha256/${id("1")}/cache-id`, id("a"));
  await record(imageDir, `sha256/${id("2")}-123-removing/cache-id`, id("9"));
  await record(imageDir, "mounts/box/mount-id", id("b"));
  await record(imageDir, "mounts/box/init-id", `${id("b")}-init`);
  await store.beginAnew();
  const kept = [id("0"), id("a"), id("b"), `${id("b")}-init`, "other-client"];
  deepEqual(layersIn(home.path), kept.sort());
  deepEqual(home.images.forgotten, [id("d")]);
});

rootTest("no layer is removed for records that are damaged, or older or newer than the layers", async () => {
  await using home = await StoreHome.make();
  const imageDir = `${home.scratch}/image`;
  const store = await home.reopen({ dockerRecords: dockerRecords(imageDir) });
  await begin(imageDir);
  await layer(store, id("a"), "", file("f", "of an image"));
  await layer(store, id("b"), "", file("f", "a commit that nobody else has"));
  await record(imageDir, `sha256/${id("1")}/cache-id`, id("a"));
  const path = `sha256/${id("2")}/cache-id`;
  for (const damaged of ["", id("b").slice(1), "\0", id("c")]) {
    await record(imageDir, path, damaged);
    await store.beginAnew();
    deepEqual(layersIn(home.path), [id("a"), id("b")], damaged);
  }
  await Deno.remove(`${imageDir}/layerdb/${path}`);
  await store.beginAnew();
  deepEqual(layersIn(home.path), [id("a"), id("b")], "there is none");
  await Deno.remove(`${imageDir}/layerdb/sha256/${id("2")}`);
  const config = `${imageDir}/imagedb/content/sha256/${id("d")}`;
  await Deno.writeTextFile(config, JSON.stringify({ rootfs: { diff_ids: [`sha256:${id("2")}`] } }));
  await store.beginAnew();
  deepEqual(layersIn(home.path), [id("a"), id("b")], "the record of an image's layer is missing");
  await record(imageDir, path, id("a"));
  await store.beginAnew();
  deepEqual(layersIn(home.path), [id("a")]);
});

rootTest("no layer is removed for records that were put in the place of newer ones", async () => {
  await using home = await StoreHome.make();
  const imageDir = `${home.scratch}/image`;
  const store = await home.reopen({ dockerRecords: dockerRecords(imageDir) });
  await begin(imageDir);
  await layer(store, id("a"), "", file("f", "of an image"));
  await record(imageDir, `sha256/${id("1")}/cache-id`, id("a"));
  await layer(store, id("b"), "", file("f", "a commit that nobody else has"));
  await until("the file system's clock has moved on", () => wasBornAfter(`${home.path}/${id("b")}`, home.scratch));
  await Deno.rename(imageDir, `${imageDir}.backup`);
  await Deno.rename(`${imageDir}.backup`, imageDir);
  await store.beginAnew();
  deepEqual(layersIn(home.path), [id("a"), id("b")]);
});

rootTest("no layer is removed for records that were begun anew while the clock was wrong", async () => {
  await using home = await StoreHome.make();
  const recorded = { ofImages: new Set<string>(), others: new Set<string>(), since: new Date(0) };
  const store = await home.reopen({
    dockerRecords: { ...WITHOUT_DOCKER.dockerRecords, layers: () => Promise.resolve(recorded) },
  });
  await layer(store, id("a"), "", file("f", "of an image"));
  await store.beginAnew();
  deepEqual(layersIn(home.path), [id("a")]);
});

rootTest(
  "what the very first pull of a killed dockerd leaves is removed as well, unless images may know it",
  async () => {
    await using home = await StoreHome.make();
    const imageDir = `${home.scratch}/image`;
    const store = await home.reopen({ dockerRecords: dockerRecords(imageDir) });
    await layer(store, id("a"), "", file("f", "older than the records"));
    await begin(imageDir);
    await layer(store, id("b"), "", file("f", "whole, of nobody"));
    await store.create(id("c"), { parent: id("b") });
    await store.createReadWrite(id("d"), { parent: id("a") });
    await Deno.writeTextFile(`${home.path}/${id("d")}/diff/written`, "by a container");
    const all = layersIn(home.path);

    await Deno.writeTextFile(`${imageDir}/imagedb/content/sha256/${id("e")}`, "{}");
    await store.beginAnew();
    deepEqual(layersIn(home.path), all, "dockerd has lost only the records of its layers");
    await Deno.remove(`${imageDir}/imagedb/content/sha256/${id("e")}`);
    await store.beginAnew();
    deepEqual(layersIn(home.path), [id("a"), id("d")]);
  },
);
