/**
 * Layers that were converted before, found at the target by what their records say.
 *
 * All layers of an image are looked for at once, while those that are new are converted: a registry answers several
 * questions in the time of one.
 *
 * @module
 */
import { hasCode, messageOf } from "../../base/errors.ts";
import { Limiter } from "../../base/limiter.ts";
import { logger } from "../../base/log.ts";
import { sha256Digest } from "../../oci/digest.ts";
import type { ImageMemory } from "../../rafs/image_memory.ts";
import { extractBootstrap } from "../../rafs/toc.ts";
import { bootstrapCodecs } from "../source/find_bootstrap.ts";
import type { ConvertedLayer } from "./convert_layer.ts";
import type { ImageTarget } from "./image_target.ts";
import type { KnownLayer, LayerCache } from "./layer_cache.ts";

const log = logger("image");

/** Layers that are looked for at once. */
const LOOKUPS = 4;

/** What {@link EarlierLayers} are found with. */
export interface EarlierLayersOptions {
  readonly target: ImageTarget;
  readonly cache: LayerCache;
  /** For bootstraps. */
  readonly memory: ImageMemory;
  /** What earlier images at the target say of their layers, by the layers' keys. */
  readonly known: ReadonlyMap<string, KnownLayer>;
  readonly signal: AbortSignal;
}

/** See the module. Disposing gives up what nobody waits for. */
export class EarlierLayers implements AsyncDisposable {
  readonly #found = new Map<string, Promise<ConvertedLayer | undefined>>();
  readonly #limiter = new Limiter(LOOKUPS);
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;

  constructor(private readonly options: EarlierLayersOptions) {
    this.#signal = AbortSignal.any([options.signal, this.#ended.signal]);
  }

  /**
   * The layer of this key, if its blob can still be had at the target. The first call begins to look for it.
   *
   * @throws {NydusGdError} what the target is wrong with, "interrupted"
   */
  find(key: string): Promise<ConvertedLayer | undefined> {
    let found = this.#found.get(key);
    if (found === undefined) {
      this.#found.set(key, found = this.#limiter.run("on-demand", () => this.#look(key)));
      found.catch(() => {}); // told to who waits for it
    }
    return found;
  }

  /** Says that the layer is there now. */
  add(key: string, layer: ConvertedLayer): void {
    this.#found.set(key, Promise.resolve({ ...layer, reused: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await Promise.allSettled(this.#found.values());
  }

  async #look(key: string): Promise<ConvertedLayer | undefined> {
    const { target, cache, known, memory } = this.options;
    const signal = this.#signal;
    for (const layer of [await cache.find(key), known.get(key)]) {
      if (layer === undefined) continue;
      const { blobId, blobBytes, place } = layer;
      const digest = sha256Digest(blobId);
      const blob = { digest, size: blobBytes };
      try {
        const isThere = await target.has(blob, signal) ||
          place !== undefined && await target.mount(blob, place, signal);
        if (!isThere) continue;
        const source = target.blobs.blob(blobId);
        const read = (offset: number, length: number) => source.read(offset, length, { priority: "on-demand", signal });
        const bootstrap = await extractBootstrap(read, blobBytes, bootstrapCodecs(memory));
        if (bootstrap !== undefined) return { digest, blobId, blobBytes, bootstrap, key, reused: true };
      } catch (error) {
        if (!hasCode(error, "not-found", "invalid-image", "unsupported", "unavailable")) throw error;
        log.warn("converted layer not used again", { blob: blobId, reason: messageOf(error) });
      }
    }
    return undefined;
  }
}
