/**
 * Images of Docker, from a daemon or written by `docker save`: configuration and layers are read from an archive.
 *
 * @module
 */
import { hasCode, NydusGdError } from "../../../base/errors.ts";
import type { Digest } from "../../../oci/digest.ts";
import { MAX_IMAGE_CONFIG_BYTES } from "../../../oci/manifest.ts";
import type { ArchiveFile } from "../../source/archive_file.ts";
import { saveImage } from "../../source/daemon_archive.ts";
import { savedImage } from "../../source/saved_images.ts";
import type { ImageArchive } from "../../source/image_archive.ts";
import { counted } from "../../source/counted.ts";
import type { SourceAccess } from "../../source/source_access.ts";
import { streamBlob } from "../../source/blob_stream.ts";
import { fromLayer } from "../layer/build_layer.ts";
import { tarOfLayer } from "../../source/layer_tar.ts";
import { isBootstrapOnly } from "./bootstrap_history.ts";
import { nydusAlready, readConfig, type SourceImage, type SourceLayer } from "./source_image.ts";

/**
 * An image of a Docker daemon.
 *
 * @param text `docker:NAME`
 * @throws {NydusGdError} as {@link saveImage}; "unsupported" for an image that is lazy already, "unavailable" for one
 * without its data
 */
export async function daemonImage(text: string, access: SourceAccess, signal: AbortSignal): Promise<SourceImage> {
  const image = await savedSource(await saveImage(text, access, signal), signal, text).catch((error) => {
    throw hasCode(error, "not-found") ? incomplete(text, error) : error;
  });
  if (image !== undefined) return image;
  throw new NydusGdError("unavailable", `Cannot convert ${text}: what Docker saved has no manifest.json`);
}

/** Docker saves an image in containerd that was pulled lazily without the data that it never had. */
function incomplete(text: string, cause: NydusGdError): NydusGdError {
  return new NydusGdError("unavailable", `Cannot convert ${text}: Docker does not have its data`, {
    hint: "an image that Docker pulled lazily has its data in its registry: convert that",
    cause,
  });
}

/**
 * An image of an archive; undefined for an archive that is not in Docker's format.
 *
 * @param description of the image, for messages
 * @throws {NydusGdError} "not-found" and "usage" for its name, "invalid-image", "unsupported"
 */
export async function savedSource(
  from: ImageArchive,
  signal: AbortSignal,
  description = `tar:${from.archive.path}`,
): Promise<SourceImage | undefined> {
  const saved = await savedImage(from, signal);
  if (saved === undefined) return undefined;
  const { archive } = from;
  const bytes = await archive.read(saved.config, MAX_IMAGE_CONFIG_BYTES, signal);
  const { platform, config, diffIds } = readConfig(bytes, saved.layers.length, description);
  if (isBootstrapOnly(config)) throw nydusAlready(description);
  const layers = await Promise.all(saved.layers.map((name, k) => layerOf(archive, name, diffIds[k] as Digest)));
  return { platform, config, layers, manifest: undefined };
}

async function layerOf(archive: ArchiveFile, name: string, diffId: Digest): Promise<SourceLayer> {
  const source = archive.source(name);
  const size = await source.size();
  const what = `layer ${diffId}`;
  const expected = { what, doing: "convert", digest: undefined, diffId } as const;
  return {
    ...{ what, diffId, size },
    hasWhiteouts: true,
    entries: (onBytes, signal) => fromLayer(tarOfLayer(counted(streamBlob(source, size, signal), onBytes), expected)),
  };
}
