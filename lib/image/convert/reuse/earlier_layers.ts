/**
 * Finds layers at the target that were converted before, using their records.
 *
 * Lookups run concurrently while new layers are converted, because a registry answers several requests in the time of
 * one.
 *
 * @module
 */
import { hasCode, messageOf } from "../../../base/errors.ts";
import { RangedSource } from "../../../blob/fetch/ranged_source.ts";
import { Limiter } from "../../../base/limiter.ts";
import { logger } from "../../../base/log.ts";
import { sha256Digest } from "../../../oci/digest.ts";
import type { ImageMemory } from "../../../rafs/memory/image_memory.ts";
import { extractBootstrap } from "../../../rafs/blob/toc.ts";
import { bootstrapCodecs } from "../../source/find_bootstrap.ts";
import type { ConvertedLayer } from "./converted_layer.ts";
import type { ImageTarget, Put } from "../target/image_target.ts";
import type { KnownLayer, LayerCache } from "./layer_cache.ts";

const log = logger("image");

/** Maximum concurrent lookups. */
const LOOKUPS = 4;

/** Options of {@link EarlierLayers}. */
export interface EarlierLayersOptions {
  readonly target: ImageTarget;
  readonly cache: LayerCache;
  /** Memory for bootstraps. */
  readonly memory: ImageMemory;
  /** For temporary files. */
  readonly folder: string;
  /** Records of earlier images at the target, by layer key. */
  readonly known: ReadonlyMap<string, KnownLayer>;
  readonly signal: AbortSignal;
}

/** Lookup of earlier layers. Disposing cancels lookups that nobody awaits. */
export class EarlierLayers implements AsyncDisposable {
  readonly #found = new Map<string, Promise<ConvertedLayer | undefined>>();
  readonly #limiter = new Limiter(LOOKUPS);
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;

  constructor(private readonly options: EarlierLayersOptions) {
    this.#signal = AbortSignal.any([options.signal, this.#ended.signal]);
  }

  /**
   * Returns the layer of this key if its blob is still available at the target. The first call starts the lookup.
   *
   * @throws {NydusGdError} errors of the target, "interrupted"
   */
  find(key: string): Promise<ConvertedLayer | undefined> {
    let found = this.#found.get(key);
    if (found === undefined) {
      this.#found.set(key, found = this.#limiter.run("on-demand", () => this.#look(key)));
      found.catch(() => {}); // reported to callers that await it
    }
    return found;
  }

  /** Whether the layer has no record. Then {@link find} finds nothing, without waiting for other lookups. */
  async isUnknown(key: string): Promise<boolean> {
    const { cache, known } = this.options;
    if (this.#found.has(key) || known.has(key) || await cache.find(key) !== undefined) return false;
    this.#found.set(key, Promise.resolve(undefined));
    return true;
  }

  /** Records that the layer is at the target, or on its way there. */
  add(key: string, layer: ConvertedLayer): void {
    this.#found.set(key, Promise.resolve({ ...layer, reused: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await Promise.allSettled(this.#found.values());
  }

  async #look(key: string): Promise<ConvertedLayer | undefined> {
    const { target, cache, known, memory, folder } = this.options;
    const signal = this.#signal;
    for (const layer of [await cache.find(key), known.get(key)]) {
      if (layer === undefined) continue;
      const { blobId, blobBytes, places } = layer;
      const digest = sha256Digest(blobId);
      const blob = { digest, size: blobBytes };
      try {
        if (!await target.has(blob, signal) && !await this.#mount(blob, places)) continue;
        await using source = RangedSource.beside(target.blobs.blob(blobId), folder);
        const read = (offset: number, length: number) => source.read(offset, length, { priority: "on-demand", signal });
        const bootstrap = await extractBootstrap(read, blobBytes, bootstrapCodecs(memory));
        if (bootstrap === undefined) continue;
        await cache.record(key, layer, target.place);
        return { digest, blobId, blobBytes, bootstrap, key, reused: true };
      } catch (error) {
        if (!hasCode(error, "not-found", "invalid-image", "unsupported", "unavailable")) throw error;
        log.warn("converted layer not reused", { blob: blobId, reason: messageOf(error) });
      }
    }
    return undefined;
  }

  /** Mounts the blob at the target from one of the repositories. */
  async #mount(blob: Put, places: KnownLayer["places"]): Promise<boolean> {
    for (const place of places) if (await this.options.target.mount(blob, place, this.#signal)) return true;
    return false;
  }
}
