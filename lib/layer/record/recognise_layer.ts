/**
 * Determines what kind of layer a folder of files is: ordinary, opaque, or the bootstrap of a lazy image.
 *
 * @module
 */
import { bootstrapOf } from "../lazy/bootstrap_layer.ts";
import { hasOpaqueMark } from "../overlay/overlay_marks.ts";
import type { RecognisedLayer } from "./layer_record.ts";
import type { ImageRoot } from "../lazy/lazy_images.ts";

/** Tells which bootstraps can be mounted: {@link ImageViews}, or LazyImages where ids are the host's. */
export interface BootstrapVerifier {
  verify(bootstrapPath: string): Promise<ImageRoot>;
}

/**
 * Determines what kind of layer the unpacked or written files are.
 *
 * @throws {NydusGdError} if it claims to be a bootstrap layer and is not
 */
export async function recogniseLayer(diffDir: string, images: BootstrapVerifier): Promise<RecognisedLayer> {
  const path = await bootstrapOf(diffDir);
  if (path === undefined) return { opaque: hasOpaqueMark(diffDir) };
  const root = await images.verify(`${diffDir}/${path}`);
  const bootstrap = { path, root: { mode: root.mode & 0o7777, uid: root.uid, gid: root.gid } };
  return { opaque: false, bootstrap };
}
