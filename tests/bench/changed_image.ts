/**
 * A workload's image with one additional layer, and an image of that layer alone, under tags in the same repository.
 *
 * @module
 */
import { encodeTarHeader, TAR_END, tarPadding } from "../../lib/archive/tar_writer.ts";
import { tarEntry } from "../../lib/archive/tar.ts";
import { concatenate } from "../../lib/base/bytes.ts";
import { pushImage } from "../../lib/demo/push_image.ts";
import { blobOf, blobOfJson, descriptorOf, digestOf, gzipped } from "../../lib/image/build/image_builder.ts";
import type { WorkloadName, Workloads } from "./workloads.ts";

const LAYER = { files: 2000, sizeBytes: 10_000 } as const;
const TYPE = {
  manifest: "application/vnd.docker.distribution.manifest.v2+json",
  config: "application/vnd.docker.container.image.v1+json",
  layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
} as const;

interface Config {
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

/** Tags of the image with the additional layer, and of that layer alone. */
export const CHANGED = "changed";
export const ALONE = "alone";

/** Pushes both images. */
export async function pushChanged({ registry: { host } }: Workloads, name: WorkloadName): Promise<void> {
  const repository = `bench/${name}`;
  const get = async (path: string) =>
    await (await fetch(`http://${host}/v2/${repository}/${path}`, { headers: { accept: TYPE.manifest } })).json();
  const manifest = await get("manifests/latest") as { readonly config: { readonly digest: string }; layers: object[] };
  const config = await get(`blobs/${manifest.config.digest}`) as Config;
  const tar = makeTar();
  const layer = blobOf(TYPE.layer, await gzipped(tar));
  const push = async (tag: string, layers: readonly object[], diffIds: readonly string[]) => {
    const own = { ...config, rootfs: { type: "layers", diff_ids: [...diffIds, digestOf(tar)] }, history: [] };
    const configBlob = blobOfJson(TYPE.config, own);
    const all = [...layers, descriptorOf(layer)];
    const document = { schemaVersion: 2, mediaType: TYPE.manifest, config: descriptorOf(configBlob), layers: all };
    const image = { config: configBlob, layers: [layer], manifest: blobOfJson(TYPE.manifest, document) };
    await pushImage({ host, repository, tag }, image);
  };
  await push(CHANGED, manifest.layers, config.rootfs.diff_ids);
  await push(ALONE, [], []);
}

function makeTar(): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  let state = 1;
  for (let k = 0; k < LAYER.files; k++) {
    const content = Uint8Array.from({ length: LAYER.sizeBytes }, () => {
      state = (state * 1103515245 + 12345) & 0x7fffffff;
      return 0x20 + (state >> 16 & 0x1f);
    });
    const name = new TextEncoder().encode(`changed/${k}`);
    parts.push(encodeTarHeader(tarEntry({ type: "file", name, sizeBytes: content.length })), content);
    parts.push(tarPadding(content.length));
  }
  return concatenate([...parts, TAR_END]);
}
