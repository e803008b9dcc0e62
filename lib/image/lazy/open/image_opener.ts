/**
 * Opens the image of a layer, before it is mounted.
 *
 * ```
 * layer ─► bootstrap, mapped ─► backend that has all blobs ─► number ─► OpenedImage
 * ```
 * What was decided for a layer, its backend and its number, is on disk and decided alike next time.
 *
 * @module
 */
import type { Backend } from "../../../backend/blob_source.ts";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import type { BlobCache } from "../../../blob/blob_cache.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import { requiredBlobIds } from "../../../rafs/format/flags.ts";
import { type BackendCandidate, chooseBackend, type PulledFrom } from "./choose_backend.ts";
import { checkInodeDigests } from "../../tree/inode_digests.ts";
import { MappedBootstrap } from "../../mapped_bootstrap.ts";
import { OpenImage } from "../../open_image.ts";
import type { ImageNumbers } from "../records/image_numbers.ts";
import type { ReadRecorder } from "../../prefetch/read_recorder.ts";

/** An image that is ready to be mounted. */
export interface OpenedImage {
  readonly number: number;
  readonly layer: LazyLayer;
  readonly image: OpenImage;
  readonly backend: Backend;
  /** Drops the choice of the backend: the next opening looks for one. */
  readonly forgetBackend: () => Promise<void>;
}

/** Options of {@link ImageOpener}. */
export interface ImageOpenerOptions {
  /** Existing folder for the recorded backend choices. */
  readonly stateDir: string;
  readonly cache: BlobCache;
  readonly numbers: ImageNumbers;
  /** Timeout of the search for an image's blobs. */
  readonly deadlineMs: number;
  /**
   * Returns the backends that may have the blobs of a layer, in order of preference. `chosen`: the repository that was
   * chosen before, if a user named it.
   */
  readonly candidates: (layer: LazyLayer, chosen?: PulledFrom) => Promise<readonly BackendCandidate[]>;
  /** Creates the recorder of starting containers' reads for each opened image. Undefined: nothing is recorded. */
  readonly recorder: ((bootstrapPath: string) => ReadRecorder) | undefined;
  /** Whether to verify inode digests on mount (tree/inode_digests.ts). Called for each mount. */
  readonly validate: () => boolean;
}

/** Opens images. */
export class ImageOpener {
  constructor(private readonly options: ImageOpenerOptions) {}

  /**
   * Opens the bootstrap and chooses the backend of its blobs.
   *
   * @param signal aborts the opening, but no later read of the image
   * @throws {NydusGdError} "invalid-image", "not-found" for the bootstrap; "unavailable" if no backend has the blobs
   */
  async open(layer: LazyLayer, signal: AbortSignal): Promise<OpenedImage> {
    const { cache, numbers, candidates, deadlineMs, validate } = this.options;
    using cleanup = new DisposableStack();
    const bootstrap = cleanup.use(openBootstrap(layer.bootstrapPath));
    if (validate()) await checkInodeDigests(bootstrap.tree);
    const blobIds = bootstrap.tree.blobs.flatMap(requiredBlobIds);
    const choicePath = this.#choicePath(layer.id);
    const listed = (chosen: PulledFrom | undefined) => candidates(layer, chosen);
    const backend = await chooseBackend({ candidates: listed, blobIds, choicePath, deadlineMs }, signal);
    const number = await numbers.of(layer.id);
    signal.throwIfAborted();
    const recorder = this.options.recorder?.(layer.bootstrapPath);
    cleanup.move();
    const image = OpenImage.open({ name: layer.id, bootstrap, backend, cache, recorder });
    return { layer, image, backend, number, forgetBackend: () => this.#forgetBackend(layer.id) };
  }

  /** Forgets what was decided for a removed layer. */
  async forget(layerId: string): Promise<void> {
    await this.options.numbers.forget(layerId);
    await this.#forgetBackend(layerId);
  }

  async #forgetBackend(layerId: string): Promise<void> {
    await ignore(Deno.errors.NotFound, Deno.remove(this.#choicePath(layerId)));
  }

  /** File that stores the choice of the backend. */
  #choicePath(layerId: string): string {
    if (layerId.includes("/")) throw new NydusGdError("internal", `Cannot use layer id ${layerId}: it is a path`);
    return `${this.options.stateDir}/${layerId}.json`;
  }
}

/**
 * Opens the bootstrap of a layer, which was whole when that arrived: it cannot be made again.
 *
 * @throws {NydusGdError} that names it, with a hint
 */
function openBootstrap(path: string): MappedBootstrap {
  try {
    return MappedBootstrap.open(path);
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    const { code, message, hint = "remove the image and its containers, and pull it again" } = error;
    const said = message.includes(path) ? message : `Cannot use bootstrap ${path}: ${message}`;
    throw new NydusGdError(code, said, { cause: error, hint });
  }
}
