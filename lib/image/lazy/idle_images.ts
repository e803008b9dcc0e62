/**
 * Who stands on which image, and which images are mounted for nobody: those that the next container of them is to find.
 *
 * @module
 */
import { Deadline, unlessAborted } from "../../base/abort.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { Mounted } from "./mounted_image.ts";

/** How long the kernel may take to have done with an image that was unmounted, until nobody waits for it any more. */
const CLOSE_TIMEOUT_MS = 5000;

/** Holders by image, which is told by the id of its layer. A holder counts once however often it is added. */
export class ImageHolders {
  /** No entry: nobody. */
  readonly #holders = new Map<string, Set<string>>();

  /** Images that somebody stands on. */
  get size(): number {
    return this.#holders.size;
  }

  isHeld(layerId: string): boolean {
    return this.#holders.has(layerId);
  }

  /** Who stands on the image, in the order in which they came. */
  of(layerId: string): string[] {
    return [...this.#holders.get(layerId) ?? []];
  }

  add(layerId: string, holder: string): void {
    const holders = this.#holders.get(layerId) ?? new Set();
    this.#holders.set(layerId, holders.add(holder));
  }

  /** Whether nobody stands on the image any more. One that holds nothing is no error. */
  remove(layerId: string, holder: string): boolean {
    const holders = this.#holders.get(layerId);
    return holders !== undefined && holders.delete(holder) && holders.size === 0 && this.#holders.delete(layerId);
  }
}

/** Images that nobody stands on and that can be given back. */
export function idleImages(mounted: Iterable<Mounted>, holders: ImageHolders): Mounted[] {
  return [...mounted].filter(({ layer, mount }) => !mount.isEndless && !holders.isHeld(layer.id));
}

/** Names of cached blobs that are held for idle images, and for no other. */
export function idleBlobs(mounted: readonly Mounted[], holders: ImageHolders): Set<string> {
  const idle = new Set(idleImages(mounted, holders));
  const of = (images: Iterable<Mounted>) =>
    new Set([...images].flatMap(({ image }) => image.blobs.map(({ shared }) => shared.name)));
  return of(idle).difference(of(mounted.filter((image) => !idle.has(image))));
}

/** Resolves when the images were given back, or some are still referred to after {@link CLOSE_TIMEOUT_MS}. */
export async function closedSoon(images: readonly Mounted[]): Promise<void> {
  using deadline = new Deadline(CLOSE_TIMEOUT_MS, undefined, () => new NydusGdError("busy", "Cannot wait any longer"));
  await ignore(NydusGdError, unlessAborted(Promise.all(images.map(({ closed }) => closed)), deadline.signal));
}
