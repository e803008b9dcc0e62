/**
 * Tracks which layers use which image, and finds idle images: mounted for the next container, but not in use.
 *
 * @module
 */
import { Deadline, unlessAborted } from "../../base/abort.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { Mounted } from "./mounted_image.ts";

/** How long to wait for the kernel to release an unmounted image. */
const CLOSE_TIMEOUT_MS = 5000;

/** The holders of each image, by the ID of its layer. Adding a holder twice has no effect. */
export class ImageHolders {
  /** No entry: no holders. */
  readonly #holders = new Map<string, Set<string>>();

  /** Number of images with a holder. */
  get size(): number {
    return this.#holders.size;
  }

  isHeld(layerId: string): boolean {
    return this.#holders.has(layerId);
  }

  /** Returns the holders of the image, oldest first. */
  of(layerId: string): string[] {
    return [...this.#holders.get(layerId) ?? []];
  }

  add(layerId: string, holder: string): void {
    const holders = this.#holders.get(layerId) ?? new Set();
    this.#holders.set(layerId, holders.add(holder));
  }

  /** Removes a holder. Returns whether it was the last one; false if it did not hold the image. */
  remove(layerId: string, holder: string): boolean {
    const holders = this.#holders.get(layerId);
    return holders !== undefined && holders.delete(holder) && holders.size === 0 && this.#holders.delete(layerId);
  }
}

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
