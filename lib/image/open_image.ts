/**
 * An image made ready to be mounted: its bootstrap mapped and parsed, its blobs known to the cache.
 *
 * Nothing of the blobs is fetched here; each opens at the first read that needs it.
 *
 * ```ts
 * using image = OpenImage.open({ name: "app", bootstrapPath, backend, cache });
 * await using mount = await session.add(image, 1);
 * ```
 *
 * @module
 */
import { O, open } from "../../ffi/fcntl.ts";
import { Mapping } from "../../ffi/sys_mman.ts";
import type { Backend } from "../backend/blob_source.ts";
import { NydusGdError } from "../base/errors.ts";
import type { Blob } from "../blob/blob.ts";
import type { BlobCache } from "../blob/blob_cache.ts";
import type { MountableImage } from "../mount/image_mount.ts";
import type { Bootstrap, ChunkRecord } from "../rafs/bootstrap.ts";
import { effectiveBlobId } from "../rafs/flags.ts";
import { openBootstrap } from "../rafs/open.ts";

/** Bytes of the largest bootstrap that is mapped: nydus's own limit for metadata. */
const MAX_BOOTSTRAP_BYTES = 2 ** 31;

/** What {@link OpenImage.open} needs. */
export interface OpenImageOptions {
  /** Unique and stable over restarts: [a-zA-Z0-9._-]+. */
  readonly name: string;
  readonly bootstrapPath: string;
  /** Id of the blob that the bootstrap was found in; undefined for a bootstrap of its own. */
  readonly container?: string | undefined;
  /** Where the blobs are. */
  readonly backend: Backend;
  readonly cache: BlobCache;
}

/** A mapped bootstrap and the blobs of its image. Disposing gives both back; unmount first. */
export class OpenImage implements MountableImage, AsyncDisposable {
  private constructor(
    readonly name: string,
    private readonly mapping: Mapping,
    readonly tree: Bootstrap,
    readonly blobs: readonly Blob[],
    private readonly cache: BlobCache,
  ) {}

  /** @throws {NydusGdError} "invalid-image", "unsupported" for the bootstrap; "not-found", "io" for its file */
  static open(options: OpenImageOptions): OpenImage {
    const { name, bootstrapPath, container, backend, cache } = options;
    const mapping = mapBootstrap(bootstrapPath);
    try {
      const tree = openBootstrap(mapping.bytes);
      const blobs = tree.blobs.map((described) => {
        const descriptor = { ...described, id: effectiveBlobId(described, container) };
        return cache.acquire({
          descriptor,
          source: backend.blob(descriptor.id),
          records: () => recordsOf(tree, descriptor.index),
        });
      });
      return new OpenImage(name, mapping, tree, blobs, cache);
    } catch (error) {
      mapping[Symbol.dispose]();
      throw error;
    }
  }

  get bootstrap(): { readonly address: bigint; readonly length: number } {
    return { address: this.mapping.address, length: this.mapping.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const blob of this.blobs) await this.cache.release(blob);
    this.mapping[Symbol.dispose]();
  }
}

/** The bootstrap file as a read-only mapping. */
export function mapBootstrap(path: string): Mapping {
  using file = open(path, O.RDONLY);
  const { size, isFile } = Deno.statSync(path);
  if (!isFile) throw new NydusGdError("invalid-image", `Cannot read bootstrap ${path}: it is not a file`);
  if (size === 0) throw new NydusGdError("invalid-image", `Cannot read bootstrap ${path}: it is empty`);
  if (size > MAX_BOOTSTRAP_BYTES) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot read bootstrap ${path}: ${size} bytes exceed ${MAX_BOOTSTRAP_BYTES}`,
    );
  }
  return Mapping.ofFile(file, size);
}

function* recordsOf(tree: Bootstrap, blobIndex: number): Iterable<Readonly<ChunkRecord>> {
  for (const record of tree.chunkRecords()) {
    if (record.blobIndex === blobIndex) yield record;
  }
}
