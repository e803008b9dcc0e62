/**
 * Refuses the lowest layer of a lazy image as a layer to convert.
 *
 * `docker push` drops the annotations by which a lazy image is known, also from an image that was built on a lazy one.
 * What is in its lowest layer are not the files of the image, but the bootstrap that describes them.
 *
 * @module
 */
import { toByteString } from "../../../base/bytes.ts";
import { BOOTSTRAP_PATHS, mayBeBootstrap } from "../../../layer/lazy/bootstrap_layer.ts";
import type { Bootstrap } from "../../../rafs/bootstrap.ts";
import { openBootstrap } from "../../../rafs/open.ts";
import { walkTree } from "../../../rafs/walk.ts";
import { unconvertible } from "../source/image_content.ts";
import type { SourceLayer } from "../source/source_image.ts";

/**
 * @param bootstrap of the converted layer
 * @throws {NydusGdError} "unsupported"
 */
export function refuseBootstrap({ what, hasWhiteouts }: SourceLayer, bootstrap: Uint8Array): void {
  const isLayer = hasWhiteouts; // a folder may hold whatever it does
  if (!isLayer || !holdsOnlyBootstrap(openBootstrap(bootstrap))) return;
  throw unconvertible(
    what,
    "it is the bootstrap of a lazy image",
    "convert the ordinary image, or what was built on the ordinary image",
  );
}

function holdsOnlyBootstrap(tree: Bootstrap): boolean {
  let isThere = false;
  for (const { path } of walkTree(tree)) {
    const name = toByteString(path.subarray(1));
    if (!mayBeBootstrap(name)) return false;
    isThere ||= BOOTSTRAP_PATHS.some((known) => known === name);
  }
  return isThere;
}
