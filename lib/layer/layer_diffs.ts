/**
 * Differences between two layers: as a tar, as a list, and as a size.
 *
 * A layer is compared as the stack of folders that it shows. Compared with its own parent, its upperdir contains
 * everything: nothing below is read, and a lazy image is needed only to tell added from modified files. For a bootstrap
 * layer, only its own files count, whatever it is compared with: the image is not its content.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Change, StackPair } from "./diff/changes.ts";
import type { Differ } from "./diff/differ.ts";
import type { IdMaps } from "./userns/id_maps.ts";
import type { ImageViews } from "./lazy/image_views.ts";
import {
  foundationOf,
  type Layer,
  lazyImageOf,
  loadLayer,
  parentOf,
  requireWhole,
  stackBelow,
} from "./record/layer.ts";
import type { HomePaths } from "./record/layer_paths.ts";
import type { LazyImages, LazyLayer } from "./lazy/lazy_images.ts";

/** Compares stacks off the main thread. Implemented by diff/differ.ts. */
export type LayerDiffer = Pick<Differ, "tar" | "changes" | "sizeBytes">;

/** What comparisons need. */
export interface LayerDiffsParts {
  readonly paths: HomePaths;
  readonly lazyImages: LazyImages;
  readonly views: ImageViews;
  readonly differ: LayerDiffer;
  /** Of the containers that tars are for. */
  readonly idMaps: IdMaps;
}

/** Differences between the layers of one home. */
export class LayerDiffs {
  constructor(private readonly parts: LayerDiffsParts) {}

  /** The tar. Read it to its end or cancel it. */
  async tar(id: string, parent: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const held = new HeldImages(this.parts, id, signal);
    const { differ, idMaps } = this.parts;
    try {
      const tar = await differ.tar({ ...await this.#pair(id, parent, "content", held), idMaps }, signal);
      return afterwards(tar, () => held.release());
    } catch (error) {
      await held.release();
      throw error;
    }
  }

  /** The list, as in `docker diff`. */
  async changes(id: string, parent: string, signal: AbortSignal): Promise<Change[]> {
    await using held = new HeldImages(this.parts, id, signal);
    return await this.parts.differ.changes(await this.#pair(id, parent, "names", held), signal);
  }

  /** Bytes of the files. */
  async sizeBytes(id: string, parent: string, signal: AbortSignal): Promise<number> {
    await using held = new HeldImages(this.parts, id, signal);
    return await this.parts.differ.sizeBytes(await this.#pair(id, parent, "content", held), signal);
  }

  /** @param wanted "names" includes what lies below, to tell modified from added */
  async #pair(id: string, parent: string, wanted: "names" | "content", held: HeldImages): Promise<StackPair> {
    const layer = await this.#load(id);
    const base = parent === "" ? undefined : await this.#load(parent);
    if (layer.finished?.bootstrap !== undefined) return { layers: [layer.paths.diff], below: [] };
    if (base !== undefined && await parentOf(this.parts.paths, layer) === base.id) {
      if (wanted === "content") return { layers: [layer.paths.diff], below: [] };
      const below = await held.folders(await stackBelow(this.parts.paths, layer));
      return { layers: [layer.paths.diff, ...below], below };
    }
    return { layers: await this.#stack(layer, held), below: base === undefined ? [] : await this.#stack(base, held) };
  }

  /** All folders visible in the layer, topmost first. */
  async #stack(layer: Layer, held: HeldImages): Promise<string[]> {
    const image = lazyImageOf(layer, this.parts.paths);
    if (image !== undefined) return await held.folders({ diffs: [], lazy: image });
    return [layer.paths.diff, ...await held.folders(await foundationOf(this.parts.paths, layer))];
  }

  async #load(id: string): Promise<Layer> {
    const layer = await loadLayer(this.parts.paths, id);
    requireWhole(layer, "be compared");
    return layer;
  }
}

/** Lazy images held for one comparison. */
class HeldImages implements AsyncDisposable {
  /** Ids of the layers with the images. */
  readonly #held = new Set<string>();
  /** Paths of their views, by the same ids. */
  readonly #paths = new Map<string, string>();
  readonly #views = new DisposableStack();
  readonly #holder: string;

  constructor(
    private readonly parts: Pick<LayerDiffsParts, "lazyImages" | "views">,
    id: string,
    private readonly signal: AbortSignal,
  ) {
    this.#holder = `${id}:diff:${crypto.randomUUID()}`;
  }

  /** The folders of a stack, the image's root last. */
  async folders({ diffs, lazy }: { readonly diffs: readonly string[]; readonly lazy: LazyLayer | undefined }) {
    return lazy === undefined ? [...diffs] : [...diffs, await this.#path(lazy)];
  }

  async #path(lazy: LazyLayer): Promise<string> {
    const known = this.#paths.get(lazy.id);
    if (known !== undefined) return known;
    const { lazyImages, views } = this.parts;
    const image = await lazyImages.acquire(lazy, this.#holder, this.signal);
    this.#held.add(lazy.id);
    const { path } = this.#views.use(await views.open(image.path));
    this.#paths.set(lazy.id, path);
    return path;
  }

  async release(): Promise<void> {
    const ids = [...this.#held];
    this.#held.clear();
    this.#views.dispose();
    await Promise.all(ids.map((id) => this.parts.lazyImages.release(id, this.#holder)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Passes the stream on, and calls `end` once it is read, fails or is cancelled. */
function afterwards(stream: ReadableStream<Uint8Array>, end: () => Promise<void>): ReadableStream<Uint8Array> {
  const reader = stream.getReader();
  const finish = async () => {
    try {
      await end();
    } catch (error) {
      logger("layer").warn("lazy image is still held", { reason: messageOf(error) });
    }
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
      } catch (error) {
        await finish();
        throw error;
      }
      await finish();
      controller.close();
    },
    async cancel(reason) {
      try {
        await reader.cancel(reason);
      } finally {
        await finish();
      }
    },
  }, { highWaterMark: 0 });
}
