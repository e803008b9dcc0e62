/**
 * Makes one layer's blob of its entries: chunk data, compression info, the layer's own bootstrap, ToC.
 *
 * ```ts
 * const builder = new LayerBuilder({ rafs, compressor: pool, write: (bytes) => writeAll(blobFile, bytes) });
 * const reader = new TarReader(builder);
 * for await (const piece of tar) {
 *   reader.push(piece);
 *   if (builder.isFull) await builder.settle();
 * }
 * reader.finish();
 * const { blobId, bootstrap } = await builder.finish();
 * ```
 * A repeated name replaces the earlier one, as when unpacking the layer (layer_tree.ts). Whiteouts are kept as files
 * and applied when merging (merge/merge_layers.ts). Holes become chunks of zeros. Data of replaced files stays in the
 * blob. The bootstrap refers to its own blob by a placeholder, as in nydus-image, so a blob depends only on its layer
 * and the options. Memory: 150 bytes per name, in addition to that of chunks/blob_chunks.ts.
 *
 * Failure: {@link NydusGdError} "invalid-image" or "unsupported" that names the entry; what `write` throws.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import type { TarEntry } from "../../../archive/tar.ts";
import type { TarVisitor } from "../../../archive/tar_reader.ts";
import { type ByteString, toByteString } from "../../../base/bytes.ts";
import { freeMemory } from "../../../base/free_memory.ts";
import { BlobTail } from "../../../rafs/blob/blob_writer.ts";
import { ChunkInfoWriter } from "../../../rafs/blob/chunk_info_writer.ts";
import { BLOB_FEATURE } from "../../../rafs/format/flags.ts";
import { type ImageMemory, ORDINARY_MEMORY, partsOf } from "../../../rafs/memory/image_memory.ts";
import type { BlobEntry } from "../../../rafs/v6/writer.ts";
import { entryParts } from "../../tree/path_resolver.ts";
import { BlobChunks } from "../chunks/blob_chunks.ts";
import type { LayerChunks } from "../chunks/layer_chunks.ts";
import { GzipChunks } from "../chunks/gzip_chunks.ts";
import { makeBootstrapWriter } from "../format/bootstrap_writer.ts";
import type { ChunkDictionary } from "../chunks/chunk_dictionary.ts";
import type { ParcelCompressor } from "../chunks/compress_pool.ts";
import type { FileVersion } from "../chunks/parcel.ts";
import { compressChunk } from "../format/compression.ts";
import { inodeOfEntry } from "./entry_inode.ts";
import { EntryPaths } from "./entry_paths.ts";
import type { GzipWalk } from "../chunks/gzip_walk.ts";
import type { PlacedInode } from "./inode_table.ts";
import { LayerTree } from "./layer_tree.ts";
import type { RafsOptions } from "../format/rafs_options.ts";
import { UnreferableError } from "../chunks/unreferable.ts";

/** Stands for the blob that contains the bootstrap. */
const PLACEHOLDER_ID = "x".repeat(64);

/** Resident bytes beyond which garbage is collected before a large bootstrap is built. */
const MANY_BYTES = 224 << 20;

/** Default level of zstd and of nydus-image. */
const BOOTSTRAP_LEVEL = 3;

/** Options of a {@link LayerBuilder}. */
export interface LayerBuilderOptions {
  readonly rafs: RafsOptions;
  readonly compressor: ParcelCompressor;
  readonly dictionary?: ChunkDictionary | undefined;
  /** Memory for the bootstrap; ordinary memory by default. */
  readonly memory?: ImageMemory | undefined;
  /** The gzip layer in which the chunks stay; the blob only describes them. */
  readonly referred?: ReferredLayer | undefined;
  /** Appends to the blob. The bytes must stay unchanged until it resolves. Calls do not overlap. */
  write(bytes: Uint8Array<ArrayBuffer>): void | Promise<void>;
}

/** A gzip layer to which an image refers. v6 only. */
export interface ReferredLayer {
  /** Its sha256, in hexadecimal. */
  readonly id: string;
  readonly sizeBytes: number;
  /** Provides the tar that is read. */
  readonly walk: GzipWalk;
}

/** A finished layer. */
export interface BuiltLayer {
  /** sha256 of the blob, in hexadecimal. */
  readonly blobId: string;
  readonly blobBytes: number;
  /** The layer's own bootstrap, as stored in the blob. */
  readonly bootstrap: Uint8Array<ArrayBuffer>;
}

/** Visits a layer's entries and writes its blob. For v5, call {@link prepareDigests} first. */
export class LayerBuilder implements TarVisitor {
  readonly #tree = new LayerTree();
  readonly #memory: ImageMemory;
  readonly #infos: ChunkInfoWriter;
  readonly #chunks: LayerChunks;
  readonly #hash: Hash = createHash("sha256");
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #blobBytes = 0;
  /** Place of the full-size chunk of zeros, once there is one. */
  #zeros: number | undefined;
  readonly #paths = new EntryPaths();
  #path: ByteString[] = [];
  #spec: PlacedInode | undefined;
  /** Consecutive places of the current file's chunks, and bytes of its next chunk in the buffer. */
  #firstPlace = 0;
  #placeCount = 0;
  #filled = 0;

  constructor(private readonly options: LayerBuilderOptions) {
    const { rafs, compressor, dictionary, memory = ORDINARY_MEMORY, referred } = options;
    this.#memory = memory;
    this.#buffer = new Uint8Array(rafs.chunkSize);
    const infos = this.#infos = new ChunkInfoWriter(rafs.batchSize > 0 || referred !== undefined ? 2 : 1);
    const write = (bytes: Uint8Array<ArrayBuffer>) => this.#append(bytes);
    this.#chunks = referred === undefined
      ? new BlobChunks({ rafs, compressor, dictionary, memory, infos, write })
      : new GzipChunks({ walk: referred.walk, digester: rafs.digester, infos, memory });
  }

  /** Whether {@link settle} must be awaited before more is added. */
  get isFull(): boolean {
    return this.#chunks.isFull;
  }

  /** Waits for the Workers until there is room for more. */
  settle(): Promise<void> {
    return this.#chunks.settle();
  }

  entry(entry: TarEntry): void {
    this.#path = this.#paths.partsOf(entry.name);
    this.#spec = undefined;
    const { type } = entry;
    const { chunkSize } = this.options.rafs;
    if (type === "link") {
      const target = entryParts(toByteString(entry.linkName));
      return this.#tree.link(this.#path, target, inodeOfEntry(entry, "file", this.#path, chunkSize));
    }
    this.#placeCount = 0;
    this.#filled = 0;
    this.#spec = inodeOfEntry(entry, type, this.#path, chunkSize);
  }

  data(piece: Uint8Array, offset: number): void {
    this.#skipTo(offset);
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + this.#buffer.length - this.#filled);
      if (this.#filled === 0) this.#beginChunk(part);
      this.#buffer.set(part, this.#filled);
      this.#advance(part.length);
      at += part.length;
    }
  }

  /**
   * Alternative to {@link data}: the chunk of the current file at `offset` is read from the file when needed. Chunks
   * are added in order.
   *
   * @param path absolute
   * @param listed the file when its entry was made; a chunk of another version is refused
   * @returns its length in bytes
   */
  chunkOf(path: Uint8Array<ArrayBuffer>, listed: FileVersion, offset: number): number {
    const size = Math.min(this.#buffer.length, listed.size - offset);
    this.#addPlace(this.#chunks.add({ path, offset, listed }, size, size === listed.size));
    return size;
  }

  endEntry(): void {
    if (this.#spec === undefined) return; // a hard link: its name is already added
    this.#skipTo(this.#spec.size ?? 0);
    this.#endChunk();
    this.#tree.put(this.#path, this.#spec, { first: this.#firstPlace, count: this.#placeCount });
  }

  /** Completes the blob. */
  async finish(): Promise<BuiltLayer> {
    await this.#chunks.finish();
    await freeMemory(MANY_BYTES);
    const tail = this.#tail();
    if (this.options.rafs.fsVersion === 6) tail.addMeta(BLOB_FEATURE.inlinedFsMeta);
    const bootstrap = await this.#bootstrap(tail);
    this.#chunks.clear();
    await freeMemory(MANY_BYTES);
    tail.addBootstrap(bootstrap);
    tail.finish();
    for (const { bytes } of tail.pieces) {
      // a v5 bootstrap is stored as it is, and large
      for (const part of partsOf(bytes, this.#memory)) await this.#append(new Uint8Array(part));
    }
    return { blobId: this.#hash.digest("hex"), blobBytes: this.#blobBytes, bootstrap };
  }

  #tail(): BlobTail {
    const { rafs, referred } = this.options;
    const dataHash = this.#hash.copy();
    const zstd = (plain: Uint8Array) => compressChunk(plain, { compressor: "zstd", level: BOOTSTRAP_LEVEL });
    return new BlobTail({
      dataSize: this.#chunks.size,
      chunks: this.#infos,
      trailers: true,
      toc: rafs.fsVersion === 6,
      codecs: {
        compressor: referred === undefined ? rafs.compressor : "zstd",
        compress: referred === undefined ? (plain) => compressChunk(plain, rafs) : zstd,
        zstd,
        sha256: (bytes) => createHash("sha256").update(bytes).digest(),
      },
      dataDigest: referred === undefined ? (trailer) => dataHash.update(trailer).digest() : undefined,
    });
  }

  async #bootstrap(tail: BlobTail): Promise<Uint8Array<ArrayBuffer>> {
    const { rafs, referred } = this.options;
    const { own, count, dictionaryBlobs } = this.#chunks;
    const described = tail.describe();
    const blobs: BlobEntry[] = [];
    if (count > 0) {
      const { compressor, digester, chunkSize } = rafs;
      const features = described.features | BLOB_FEATURE.inlinedFsMeta;
      const entry = { index: own.index, id: PLACEHOLDER_ID, compressor, digester, chunkSize, ...described, features };
      blobs.push(
        referred === undefined ? entry : {
          ...entry,
          id: referred.id,
          compressor: "gzip",
          compressedSize: referred.sizeBytes,
        },
      );
    }
    for (const [{ descriptor }, row] of dictionaryBlobs) {
      row.index = blobs.length;
      blobs.push({ ...descriptor, index: row.index });
    }
    const writer = makeBootstrapWriter(rafs, this.#memory);
    writer.addChunks(this.#chunks.all);
    this.#tree.moveTo(writer, (place) => this.#chunks.placeOf(place), this.#memory);
    await freeMemory(MANY_BYTES);
    return writer.finish(blobs);
  }

  #beginChunk(bytes: Uint8Array): void {
    const left = (this.#spec?.size ?? 0) - this.#position;
    this.#chunks.begin?.(bytes, Math.min(this.#buffer.length, left));
  }

  /** Adds zeros up to `offset` of the file: a hole. */
  #skipTo(offset: number): void {
    const chunkSize = this.#buffer.length;
    if (this.options.referred !== undefined && this.#position < offset) {
      throw new UnreferableError("it has a sparse file");
    }
    for (let position = this.#position; position < offset; position = this.#position) {
      const length = Math.min(offset - position, chunkSize - this.#filled);
      if (length === chunkSize && this.#zeros !== undefined) {
        this.#addPlace(this.#chunks.addAgain(this.#zeros));
        continue;
      }
      this.#buffer.fill(0, this.#filled, this.#filled + length);
      this.#advance(length);
      if (length === chunkSize) this.#zeros = this.#firstPlace + this.#placeCount - 1;
    }
  }

  /** Bytes of the current file that are in chunks or in the buffer. */
  get #position(): number {
    return this.#placeCount * this.#buffer.length + this.#filled;
  }

  #advance(length: number): void {
    this.#filled += length;
    if (this.#filled === this.#buffer.length) this.#endChunk();
  }

  #endChunk(): void {
    if (this.#filled === 0) return;
    const isWholeFile = this.#placeCount === 0 && this.#filled === this.#spec?.size;
    this.#addPlace(this.#chunks.add(this.#buffer.subarray(0, this.#filled), this.#filled, isWholeFile));
    this.#filled = 0;
  }

  #addPlace(place: number): void {
    if (this.#placeCount++ === 0) this.#firstPlace = place;
  }

  async #append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const written = this.options.write(bytes);
    this.#hash.update(bytes);
    this.#blobBytes += bytes.length;
    await written;
  }
}
