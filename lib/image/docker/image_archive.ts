/**
 * An image as `docker load` takes it: a tar of its configuration, its layers, and a list of both.
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
import { concatenate } from "../../base/bytes.ts";
import { digestHex, parseDigest } from "../../oci/digest.ts";
import { digestOf } from "../image_builder.ts";

/** The archive of an image with one layer. */
export function imageArchive(config: Uint8Array, layerTar: Uint8Array, name: string): Uint8Array<ArrayBuffer> {
  const configPath = `${hexOf(config)}.json`;
  const layerPath = `${hexOf(layerTar)}/layer.tar`;
  const manifest = [{ Config: configPath, RepoTags: [name], Layers: [layerPath] }];
  const encoder = new TextEncoder();
  return concatenate([
    ...file(configPath, config),
    ...file(layerPath, layerTar),
    ...file("manifest.json", encoder.encode(JSON.stringify(manifest))),
    TAR_END,
  ]);
}

function file(path: string, content: Uint8Array): Uint8Array[] {
  const entry = tarEntry({ type: "file", name: new TextEncoder().encode(path), sizeBytes: content.length });
  return [encodeTarHeader(entry), content, tarPadding(content.length)];
}

function hexOf(bytes: Uint8Array): string {
  return digestHex(parseDigest(digestOf(bytes)));
}
