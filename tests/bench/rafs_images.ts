/**
 * The workloads as lazy images, made once by our own writer and by nydus-image, and pushed to the registry of the
 * ordinary ones.
 *
 * | builder                     | repository             | chunks  | blobs                            |
 * | --------------------------- | ---------------------- | ------- | -------------------------------- |
 * | nydus-gd                    | bench/NAME-nydus-gd    | default | one                              |
 * | nydus-gd `--optimize-run`   | bench/NAME-optimized   | default | one per layer, and one for the start |
 * | nydus-image                 | bench/NAME-nydus-image | 1 MiB   | one per layer                    |
 *
 * All are RAFS v6 with zstd. The last is what nydusify makes of an image by default.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { pushImage } from "../../lib/demo/push_image.ts";
import { bootstrapLayerTar, buildImage } from "../../lib/image/build/image_builder.ts";
import { convertToFolder } from "../../lib/image/convert/convert_tree.ts";
import { fromTar } from "../../lib/image/convert/layer/build_layer.ts";
import { shellWords } from "../support/process/shell_words.ts";
import { output, versionOf } from "./programs.ts";
import { ENVIRONMENT, exists, type WorkloadName, WORKLOADS, type Workloads } from "./workloads.ts";
import { hostPlatform } from "../../lib/oci/platform.ts";

export type Builder = "nydus-gd" | "nydus-image";

/** A lazy image as files and in the registry. */
export interface RafsImage {
  readonly builder: Builder;
  readonly bootstrap: string;
  /** Directory of its blobs by id. */
  readonly blobDir: string;
  readonly repository: string;
}

/** Returns the image that every system can serve: nydus-image's if that program is on the PATH, otherwise our own. */
export async function commonImage(workloads: Workloads, name: WorkloadName): Promise<RafsImage> {
  return await rafsImage(workloads, name, await versionOf("nydus-image") === undefined ? "nydus-gd" : "nydus-image");
}

/** Returns the workload as a lazy image, which is made and pushed if necessary. */
export async function rafsImage(workloads: Workloads, name: WorkloadName, builder: Builder): Promise<RafsImage> {
  const repository = `bench/${name}-${builder}`;
  const dir = `${workloads.dir}/${name}/${builder}`;
  const image = { builder, bootstrap: `${dir}/image.boot`, blobDir: `${dir}/blobs`, repository };
  if (await exists(dir)) return image;
  const part = `${dir}.part`;
  await removeIfThere(part);
  await Deno.mkdir(`${part}/blobs`, { recursive: true });
  if (builder === "nydus-gd") await buildOwn(() => Deno.open(workloads.tarOf(name)), part);
  else await buildWithNydusImage(workloads, name, part);
  await push(workloads.registry.host, repository, part, WORKLOADS[name]);
  await Deno.rename(part, dir);
  return image;
}

/**
 * Converts the workload with the executable, which runs it once; reuses an existing image.
 *
 * @returns its repository
 */
export async function optimizedImage(
  { registry }: Workloads,
  name: WorkloadName,
  program: string,
): Promise<string> {
  const repository = `bench/${name}-optimized`;
  const [source, target] = [`${registry.host}/bench/${name}`, `${registry.host}/${repository}`];
  const { ok, body } = await fetch(`http://${registry.host}/v2/${repository}/manifests/latest`, {
    headers: { accept: "application/vnd.oci.image.index.v1+json" },
  });
  await body?.cancel();
  if (!ok) await output(program, ["convert", "--optimize-run", shellWords(WORKLOADS[name]), source, target]);
  return repository;
}

/**
 * Makes `dir`/image.boot and `dir`/blobs/ID from a tar.
 *
 * @param first data before the tar, such as entries that make the image distinct
 */
export async function buildOwn(
  openTar: () => Promise<{ readonly readable: ReadableStream<Uint8Array> }>,
  dir: string,
  first: readonly Uint8Array[] = [],
): Promise<void> {
  async function* archive() {
    yield* first;
    yield* (await openTar()).readable;
  }
  const { bootstrap } = await convertToFolder(fromTar(archive()), `${dir}/blobs`);
  await Deno.writeFile(`${dir}/image.boot`, bootstrap);
}

/** Pushes the content of `dir` as a bootstrap-only image. */
export async function push(host: string, repository: string, dir: string, cmd: readonly string[]): Promise<void> {
  const bootstrap = await Deno.readFile(`${dir}/image.boot`);
  const image = await buildImage([bootstrapLayerTar(bootstrap)], {
    architecture: hostPlatform().architecture,
    cmd,
    env: ENVIRONMENT,
  });
  const blobs: { digest: string; bytes: Uint8Array<ArrayBuffer> }[] = [];
  for await (const { name } of Deno.readDir(`${dir}/blobs`)) {
    blobs.push({ digest: `sha256:${name}`, bytes: await Deno.readFile(`${dir}/blobs/${name}`) });
  }
  await pushImage({ host, repository, tag: "latest" }, image, blobs);
}

/** Converts layer by layer, then merges, as nydusify does. Merging takes a blob's id from the name of its bootstrap. */
async function buildWithNydusImage(workloads: Workloads, name: WorkloadName, dir: string): Promise<void> {
  const layers = `${dir}/layers`;
  await Deno.mkdir(layers);
  const bootstraps: string[] = [];
  for (const digest of await layersOf(workloads.registry.host, `bench/${name}`)) {
    await download(`http://${workloads.registry.host}/v2/bench/${name}/blobs/${digest}`, `${layers}/tar`);
    const create = ["create", "--log-level", "error", "--type", "tar-rafs", "--whiteout-spec", "none"];
    const format = ["--fs-version", "6", "--compressor", "zstd", "--chunk-size", "0x100000"];
    const results = ["--bootstrap", `${layers}/boot`, "--blob", `${layers}/blob`];
    await output("nydus-image", [...create, ...format, ...results, `${layers}/tar`]);
    const id = await sha256OfFile(`${layers}/blob`);
    await Deno.rename(`${layers}/blob`, `${dir}/blobs/${id}`);
    await Deno.rename(`${layers}/boot`, `${layers}/${id}`);
    bootstraps.push(`${layers}/${id}`);
  }
  await output("nydus-image", ["merge", "--log-level", "error", "--bootstrap", `${dir}/image.boot`, ...bootstraps]);
  await Deno.remove(layers, { recursive: true });
}

async function layersOf(host: string, repository: string): Promise<string[]> {
  const response = await fetch(`http://${host}/v2/${repository}/manifests/latest`, {
    headers: { accept: "application/vnd.docker.distribution.manifest.v2+json" },
  });
  const { layers } = await response.json() as { layers: readonly { readonly digest: string }[] };
  return layers.map(({ digest }) => digest);
}

/** Downloads and decompresses a layer. */
async function download(url: string, path: string): Promise<void> {
  const { body } = await fetch(url);
  if (body === null) throw new Error(`Cannot read ${url}: it has no body`);
  await Deno.writeFile(path, body.pipeThrough(new DecompressionStream("gzip")));
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const piece of file.readable) hash.update(piece);
  return hash.digest("hex");
}

export async function removeIfThere(path: string): Promise<void> {
  if (await exists(path)) await Deno.remove(path, { recursive: true });
}
