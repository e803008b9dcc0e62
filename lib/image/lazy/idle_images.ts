/**
 * Finds idle images: mounted for the next container, but not in use.
 *
 * @module
 */
import { Deadline, unlessAborted } from "../../base/abort.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { ImageHolders } from "./image_holders.ts";
import type { Mounted } from "./mounted_image.ts";

/** How long to wait for the kernel to release an unmounted image. */
const CLOSE_TIMEOUT_MS = 5000;

/** Returns images that have no holder and can be unmounted. */
export function idleImages(mounted: Iterable<Mounted>, holders: ImageHolders): Mounted[] {
  return [...mounted].filter(({ layer, mount }) => !mount.isEndless && !holders.isHeld(layer.id));
}

/** Returns the names of cached blobs that only idle images use. */
export function idleBlobs(mounted: readonly Mounted[], holders: ImageHolders): Set<string> {
  const idle = new Set(idleImages(mounted, holders));
  const of = (images: Iterable<Mounted>) =>
    new Set([...images].flatMap(({ image }) => image.blobs.map(({ shared }) => shared.name)));
  return of(idle).difference(of(mounted.filter((image) => !idle.has(image))));
}

/** Resolves once the images are released, or after {@link CLOSE_TIMEOUT_MS}. */
export async function closedSoon(images: readonly Mounted[]): Promise<void> {
  using deadline = new Deadline(CLOSE_TIMEOUT_MS, undefined, () => new NydusGdError("busy", "Cannot wait any longer"));
  await ignore(NydusGdError, unlessAborted(Promise.all(images.map(({ closed }) => closed)), deadline.signal));
}
