/**
 * Idle images: mounted for the next container, but not in use. They can be unmounted when the cache needs space.
 *
 * @module
 */
import { Deadline, unlessAborted } from "../../../base/abort.ts";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import { SingleFlight } from "../../../base/single_flight.ts";
import type { ImageHolders } from "./image_holders.ts";
import type { ImageNumbers } from "../records/image_numbers.ts";
import type { LiveImages } from "./live_images.ts";
import type { LiveImage } from "./live_image.ts";

/** How long to wait for the kernel to release an unmounted image. */
const CLOSE_TIMEOUT_MS = 5000;

/** Finds and unmounts the idle ones among the mounted images. */
export class IdleImages {
  readonly #unmounting = new SingleFlight<"idle", readonly LiveImage[]>();

  /** @param stopping aborted when nothing must be unmounted any more */
  constructor(
    private readonly images: LiveImages,
    private readonly holders: ImageHolders,
    private readonly numbers: ImageNumbers,
    private readonly stopping: AbortSignal,
  ) {}

  /** Unmounts the idle images, which are mounted again on demand. Returns them; they may still be in use. */
  unmount(): Promise<readonly LiveImage[]> {
    return this.#unmounting.run("idle", async () => {
      const idle = this.#find();
      await Promise.all(idle.map(({ layer: { id } }) => this.images.runExclusive(id, () => this.#unmountOne(id))));
      return idle;
    });
  }

  /** As {@link unmount}; resolves once they are closed, or after {@link CLOSE_TIMEOUT_MS}. */
  async release(): Promise<void> {
    const unmounted = await this.unmount();
    const late = () => new NydusGdError("busy", "Cannot wait any longer");
    using deadline = new Deadline(CLOSE_TIMEOUT_MS, undefined, late);
    const closed = Promise.all(unmounted.map(({ closed }) => closed));
    await ignore(NydusGdError, unlessAborted(closed, deadline.signal));
  }

  /** Unmounts the image of a layer unless a container has used it. */
  async unmountUnused(layerId: string): Promise<void> {
    await this.images.runExclusive(layerId, async () => {
      if (this.images.get(layerId)?.isUsed === false) await this.#unmountOne(layerId);
    });
  }

  /** Returns the names of cached blobs that only idle images use. */
  blobs(): Set<string> {
    const idle = new Set(this.#find());
    return blobNames(idle).difference(blobNames(this.images.all().filter((mounted) => !idle.has(mounted))));
  }

  /** Resolves when nothing is being unmounted. */
  settled(): Promise<void> {
    return this.#unmounting.settled();
  }

  #find(): LiveImage[] {
    return this.images.all().filter(({ layer, mount }) => !mount.isEndless && !this.holders.isHeld(layer.id));
  }

  async #unmountOne(layerId: string): Promise<void> {
    if (this.stopping.aborted || this.holders.isHeld(layerId)) return;
    await this.images.unmount(layerId);
    await this.numbers.forget(layerId); // remaining references must not see the next mount's tree
  }
}

function blobNames(images: Iterable<LiveImage>): Set<string> {
  return new Set([...images].flatMap(({ image }) => image.blobs.map(({ shared }) => shared.name)));
}
