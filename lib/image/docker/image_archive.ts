/**
 * Builds image archives for `docker load`: a tar of configuration, layers, and a manifest of both.
 *
 * ```
 * <digits of the config's digest>.json
 * <digits of the diffID>/layer.tar
 * manifest.json      [{"Config": …, "RepoTags": [NAME:TAG], "Layers": […]}]
 * ```
 * Source: moby image/spec v1.2.
 *
 * @module
 */
import { tarEntry } from "../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import { lengthOf } from "../../base/bytes.ts";
import { type Digest, digestHex } from "../../oci/digest.ts";
import { digestOf } from "../build/image_builder.ts";

/**
 * Returns the archive of an image with one layer, in pieces.
 *
 * @param layerTar in pieces, which are reused as pieces of the archive
 * @param diffId of the layer
 */
export function imageArchive(
  config: Uint8Array,
  layerTar: readonly Uint8Array[],
  diffId: Digest,
  name: string,
): Uint8Array[] {
  const configPath = `${digestHex(digestOf(config))}.json`;
  const layerPath = `${digestHex(diffId)}/layer.tar`;
  const manifest = [{ Config: configPath, RepoTags: [name], Layers: [layerPath] }];
  return [
    ...file(configPath, [config]),
    ...file(layerPath, layerTar),
    ...file("manifest.json", [new TextEncoder().encode(JSON.stringify(manifest))]),
    TAR_END,
  ];
}

function file(path: string, content: readonly Uint8Array[]): Uint8Array[] {
  const sizeBytes = lengthOf(content);
  const entry = tarEntry({ type: "file", name: new TextEncoder().encode(path), sizeBytes });
  return [encodeTarHeader(entry), ...content, tarPadding(sizeBytes)];
}
