/**
 * The details of a lazy image in `docker inspect`: kind, bootstrap, data path, backend, and blobs with their sizes.
 *
 * @module
 */
import { messageOf } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import type { MountedImageReport } from "./images_report.ts";
import { MappedBootstrap } from "../../mapped_bootstrap.ts";

const log = logger("image");

/** @param mounted undefined if the image of the layer is not mounted */
export function describeImage(layer: LazyLayer, mounted: MountedImageReport | undefined): Record<string, string> {
  const about = { kind: "lazy", bootstrap: layer.bootstrapPath };
  if (mounted === undefined) return { ...about, fs_driver: "none, not mounted", blobs: blobsOf(layer) };
  const { fsDriver, refusal, home, blobs } = mounted;
  const fetched = blobs.map(({ id, compressedSize, bytesFetched }) =>
    `${id} ${compressedSize} bytes, ${bytesFetched} fetched`
  );
  const reason = refusal === undefined ? {} : { fs_driver_reason: refusal };
  return { ...about, fs_driver: fsDriver, ...reason, home, blobs: fetched.join("; ") };
}

/** Describes the blobs of a bootstrap; if it cannot be read, returns the error message. */
function blobsOf({ id, bootstrapPath }: LazyLayer): string {
  try {
    using bootstrap = MappedBootstrap.open(bootstrapPath);
    return bootstrap.tree.blobs.map((blob) => `${blob.id} ${blob.compressedSize} bytes`).join("; ");
  } catch (error) {
    log.warn("bootstrap can no longer be read", { layer: id, error: messageOf(error) });
    return messageOf(error);
  }
}
