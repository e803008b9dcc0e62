/**
 * Serves a lazy image in a machine whose power may fail at any moment, and reports for each file what was read.
 *
 * ```
 * deno run -A tests/vm/guest/power_cut.ts FOLDER DATA_PATH
 * ```
 * FOLDER keeps image, layers and cache across restarts of the machine. Prints a line per file, "right" or "wrong", then
 * "all".
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { bootstrapLayerTar } from "../../../lib/image/build/image_builder.ts";
import { buildFrom } from "../../support/rafs/built_rafs.ts";
import { GraphDriverProcess } from "../../support/serve/graph_driver_process.ts";
import { file, tarOf } from "../../support/archive/tar_builder.ts";
import { knownBytes } from "../../support/mount/verifying_reader.ts";

const FILES = { count: 12, sizeBytes: 1 << 18 } as const;
const CHUNK = 16 * 1024;

const [folder, dataPath] = Deno.args;
if (folder === undefined || dataPath === undefined) throw new Error("Cannot serve: no folder or no data path given");

/** Run once, before the first power cut. */
async function makeImage(folder: string): Promise<Uint8Array> {
  const files = Array.from({ length: FILES.count }, (_, n) => file(String(n), knownBytes(n, FILES.sizeBytes)));
  const { blob, blobId, bytes } = await buildFrom(tarOf(...files), { chunkSize: CHUNK }, 1 << 20);
  await Deno.mkdir(`${folder}/blobs`, { recursive: true });
  await Deno.writeFile(`${folder}/blobs/${blobId}`, blob);
  const backend = { type: "localfs", config: { dir: `${folder}/blobs` } };
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ device: { backend }, mode: "direct" }));
  await new Deno.Command("sync").output();
  return bytes;
}

const image = existsSync(folder) ? undefined : await makeImage(folder);
const driver = await GraphDriverProcess.start(folder, { logPath: `${folder}/serve.log`, logLevel: "debug" });
const Opts = [`nydus-gd.config=${folder}/config.json`, `nydus-gd.fs-driver=${dataPath}`];
await driver.call("GraphDriver.Init", { Home: `${folder}/home`, Opts });
if (image !== undefined) {
  await driver.call("GraphDriver.Create", { ID: "image" });
  await driver.apply("image", bootstrapLayerTar(image));
  await driver.call("GraphDriver.CreateReadWrite", { ID: "box", Parent: "image" });
}
const { Dir: root } = await driver.call("GraphDriver.Get", { ID: "box" });
for (let number = 0; number < FILES.count; number++) {
  const isRight = Buffer.compare(await Deno.readFile(`${root}/${number}`), knownBytes(number, FILES.sizeBytes)) === 0;
  console.log(isRight ? "right" : "wrong");
}
await driver.call("GraphDriver.Put", { ID: "box" });
await driver[Symbol.asyncDispose]();
console.log("all");
