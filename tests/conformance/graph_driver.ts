/**
 * The graph driver alone, without lazy images, for suites that judge one from outside:
 *
 * ```sh
 * deno run -A tests/conformance/graph_driver.ts --socket /scratch/gd.sock --root /scratch/root
 * ```
 * Prints `listening` when the socket accepts; SIGTERM and SIGINT stop it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Applier } from "../../lib/layer/applier.ts";
import { Differ } from "../../lib/layer/differ.ts";
import { LayerStore } from "../../lib/layer/layer_store.ts";
import { NO_LAZY_IMAGES } from "../../lib/layer/lazy_images.ts";
import { createGraphDriverApp } from "../../plugin/docker/app.ts";
import { GraphDriver } from "../../plugin/docker/driver.ts";
import { serveUnix } from "../../plugin/docker/serve_unix.ts";

const { values } = parseArgs({ options: { socket: { type: "string" }, root: { type: "string" } } });
if (values.socket === undefined || values.root === undefined) {
  console.error("usage: graph_driver.ts --socket PATH --root DIR");
  Deno.exit(2);
}
await Deno.mkdir(values.root, { recursive: true, mode: 0o700 });

await using applier = new Applier();
using differ = new Differ();
await using driver = await GraphDriver.resume({
  stateFile: `${values.root}/graph_driver.json`,
  openStore: (home) => LayerStore.open(home, { lazyImages: NO_LAZY_IMAGES, applier, differ }),
});
await using server = await serveUnix(values.socket, createGraphDriverApp(driver));

const stop = () => void server.stop();
for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, stop);
console.log("listening");
await server.finished;
for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.removeSignalListener(signal, stop);
