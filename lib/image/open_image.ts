/**
 * An image that is ready to be mounted: its bootstrap mapped and parsed, its blobs acquired from the cache.
 *
 * Of the blobs only chunk tables are fetched here, and only by {@link OpenImage.openAhead}.
 *
 * ```ts
 * const bootstrap = MappedBootstrap.open(path);
 * await using image = OpenImage.open({ name: "app", bootstrap, backend, cache });
 * await using mount = await session.add(image, 1);
 * ```
 *
 * @module
 */
import { dirname, join } from "node:path";
import type { Backend } from "../backend/blob_source.ts";
import { RateMeter } from "../base/rate_meter.ts";
import type { Blob } from "../blob/blob.ts";
import type { BlobCache } from "../blob/blob_cache.ts";
import { readMetaFile } from "../blob/tables/table_source.ts";
import { ChunkTableFile } from "../blob/tables/chunk_table_file.ts";
import type { MountableImage } from "../mount/image_mount.ts";
import { openBlobs } from "../mount/reads/open_blobs.ts";
import type { BlobDescriptor, Bootstrap } from "../rafs/bootstrap.ts";
import { cacheMetaSize } from "../rafs/blob/cache_layout.ts";
import { BLOB_FEATURE, effectiveBlobId, has, requiredBlobIds, separateMetaId } from "../rafs/format/flags.ts";
import { MappedBootstrap } from "./mapped_bootstrap.ts";
import type { Command } from "./programs/command_files.ts";
import { ProgramAhead } from "./programs/program_ahead.ts";
import type { ReadRecorder } from "./prefetch/read_recorder.ts";

/** Options of {@link OpenImage.open}. */
export interface OpenImageOptions {
  /** Unique and stable across restarts: [a-zA-Z0-9._-]+. */
  readonly name: string;
  /** Owned by the image, even if opening fails. */
  readonly bootstrap: MappedBootstrap;
  /** ID of the blob that contains the bootstrap; undefined for a separate bootstrap. */
  readonly container?: string | undefined;
  /** The backend of the blobs. */
  readonly backend: Backend;
  readonly cache: BlobCache;
  /** Records what readers wait for. Owned by the image. */
  readonly recorder?: ReadRecorder | undefined;
}

/** Acquires a blob of the image from the cache. */
function acquireBlob(
  described: BlobDescriptor,
  { bootstrap, container, backend, cache, recorder }: OpenImageOptions,
  programs: ProgramAhead,
): Blob {
  const descriptor = { ...described, id: effectiveBlobId(described, container) };
  const source = backend.blob(descriptor.id);
  const metaId = separateMetaId(described, container);
  const embeddedMeta = metaBeside(bootstrap.path, descriptor, metaId ?? descriptor.id);
  return cache.acquire({
    descriptor,
    source,
    records: () => bootstrap.tree.chunkRecords(descriptor.index),
    ...(metaId === undefined ? {} : { metaId, metaSource: backend.blob(metaId) }),
    ...(embeddedMeta === undefined ? {} : { embeddedMeta }),
    onDemand: ({ isAwaited, offset, length }) => {
      const read = { blobIndex: descriptor.index, offset, length };
      recorder?.note(read);
      if (isAwaited) programs.noteWaiting(read);
    },
  });
}

/** A mapped bootstrap and the blobs of its image. Disposing releases both; unmount first. */
export class OpenImage implements MountableImage, AsyncDisposable {
  readonly misses = new RateMeter();

  private constructor(
    private readonly options: OpenImageOptions,
    readonly blobs: readonly Blob[],
    private readonly programs: ProgramAhead,
  ) {}

  /** @throws {NydusGdError} "invalid-image" for invalid blobs */
  static open(options: OpenImageOptions): OpenImage {
    const { bootstrap, cache, recorder } = options;
    const { tree } = bootstrap;
    const blobs: Blob[] = [];
    const programs = new ProgramAhead({
      tree,
      blobs,
      isOn: () => cache.readsAhead,
      onFetch: (range) => recorder?.note(range),
    });
    try {
      for (const described of tree.blobs) blobs.push(acquireBlob(described, options, programs));
      return new OpenImage(options, blobs, programs);
    } catch (error) {
      // none has been opened yet, so releasing them neither waits nor fails
      for (const blob of blobs) cache.release(blob);
      bootstrap[Symbol.dispose]();
      throw error;
    }
  }

  get name(): string {
    return this.options.name;
  }

  get recorder(): ReadRecorder | undefined {
    return this.options.recorder;
  }

  /**
   * Opens the blobs, so that their chunk tables are loaded before the first read. A failure is left to that read. A
   * TARFS blob, which is read completely when it is opened, is not opened early.
   */
  openAhead(): void {
    openBlobs(this.blobs.filter((_, index) => !this.#isTarfs(index)));
  }

  /**
   * Fetches what a command reads first, in the background, if read-ahead is enabled.
   *
   * @param find returns undefined if the command is not known
   */
  expect(find: () => Promise<Command | undefined> | undefined): void {
    this.programs.expect(find);
  }

  #isTarfs(index: number): boolean {
    return has(this.tree.blobs[index]?.features ?? 0, BLOB_FEATURE.tarfs);
  }

  get tree(): Bootstrap {
    return this.options.bootstrap.tree;
  }

  /** IDs of the blobs that the backend must have. */
  get requiredBlobIds(): string[] {
    return this.blobs.flatMap(({ id }, index) =>
      requiredBlobIds({ id, metaBlobId: this.tree.blobs[index]?.metaBlobId })
    );
  }

  get bootstrap(): { readonly address: bigint; readonly length: number } {
    const { address, length } = this.options.bootstrap.mapping;
    return { address, length };
  }

  /** @throws {NydusGdError} "io" if the last chunks of a blob cannot be recorded; all resources are released anyway */
  async [Symbol.asyncDispose](): Promise<void> {
    const { bootstrap, cache } = this.options;
    await this.recorder?.[Symbol.asyncDispose]();
    await this.programs[Symbol.asyncDispose]();
    const ends = await Promise.allSettled(this.blobs.map((blob) => cache.release(blob)));
    bootstrap[Symbol.dispose]();
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }
}

/** Drops pages from this process that only serving images needs, as {@link MappedBootstrap.dropPages}. */
export function dropImagePages(): void {
  MappedBootstrap.dropPages();
  ChunkTableFile.dropPages();
}

/**
 * Reads `<id>.blob.meta` next to the bootstrap, which newer converters add and which saves a request.
 *
 * @param id of the blob that also contains it
 */
function metaBeside(bootstrapPath: string, { meta }: BlobDescriptor, id: string): Uint8Array | undefined {
  if (meta === undefined) return undefined;
  return readMetaFile(join(dirname(bootstrapPath), `${id}.blob.meta`), cacheMetaSize(meta.uncompressedSize));
}
