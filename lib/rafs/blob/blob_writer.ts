/**
 * Writes what follows the chunk data of a v6 blob: compression info, digests, an inlined bootstrap, ToC, and their
 * trailers.
 *
 * The caller stores the chunk data and reports each chunk to a {@link ChunkInfoWriter}. Then:
 *
 * ```ts
 * const tail = new BlobTail({ dataSize, chunks, trailers: true, toc: true, codecs, dataDigest });
 * tail.addMeta();
 * tail.addDigests(digests); // optional
 * const blob = { index: 0, id, compressor, digester, chunkSize, ...tail.describe() };
 * tail.addBootstrap(writer.finish([blob])); // optional
 * tail.finish();
 * for (const { bytes, inId } of tail.pieces) { … } // append bytes; the blob's id is sha256 over data and pieces inId
 * ```
 * Compression and sha256 come from the caller as {@link TailCodecs}; this layer has no codecs.
 *
 * @module
 */
import { writeU64 } from "../../base/bytes.ts";
import { type BlobDescriptor, type BlobMetaLocation, type Compressor, RafsError } from "../bootstrap.ts";
import { CI_HEADER } from "./blob_meta.ts";
import type { ChunkInfoWriter } from "./chunk_info_writer.ts";
import { DIGEST_SIZE } from "./chunk_table.ts";
import { BLOB_FEATURE } from "../format/flags.ts";
import { SECTION, TAR_HEADER, tarChecksum, TOC, TOC_ENTRY, TOC_FLAG, type TocEntry } from "./toc.ts";

/** Compression and digests, provided by the caller. */
export interface TailCodecs {
  /** Compresses with the blob's compressor. The result is used only when it is smaller. */
  compress(plain: Uint8Array): Uint8Array;
  readonly compressor: Compressor;
  /** Compresses with zstd, the only compression of an inlined bootstrap. Called only with a ToC. */
  zstd(plain: Uint8Array): Uint8Array;
  sha256(bytes: Uint8Array): Uint8Array;
}

/** Options of a {@link BlobTail}. */
export interface TailOptions {
  /** Bytes of chunk data. */
  readonly dataSize: number;
  readonly chunks: ChunkInfoWriter;
  /** Write a tar header after each section. Required for a ToC and for an inlined bootstrap. */
  readonly trailers: boolean;
  /** Write a table of contents at the end. */
  readonly toc: boolean;
  readonly codecs: TailCodecs;
  /**
   * sha256 of the chunk data followed by the given trailer. Called only with a ToC. Undefined for data that are another
   * blob, of which this one is only the description.
   */
  readonly dataDigest: ((trailer: Uint8Array) => Uint8Array) | undefined;
}

/** Bytes to append to the blob. */
export interface Piece {
  readonly bytes: Uint8Array;
  /** Whether the bytes are part of the blob's id (sha256). Only the digests are not. */
  readonly inId: boolean;
}

/** Returns a 512-byte GNU tar header that describes the section before it. */
export function makeTrailer(name: string, size: number): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(TAR_HEADER);
  const put = (at: number, text: string) => header.set(new TextEncoder().encode(text), at);
  if (size > 0o77777777777) throw new RafsError(`Cannot write blob trailer: section has ${size} bytes`, "unsupported");
  put(0, name);
  put(124, size.toString(8).padStart(11, "0"));
  put(136, "0".repeat(11));
  put(156, "0");
  put(257, "ustar  \0");
  put(148, tarChecksum(header).toString(8).padStart(7, "0"));
  return header;
}

/** Builds the end of one blob. Call the add methods in the order in which they are declared, each at most once. */
export class BlobTail {
  readonly pieces: Piece[] = [];
  readonly #options: TailOptions;
  readonly #toc: Uint8Array[] = [];
  #position: number;
  #features: number;
  #meta: BlobMetaLocation | undefined;
  #size: number;
  #tocSize = 0;
  #tocDigest: Uint8Array | undefined;

  constructor(options: TailOptions) {
    if (options.toc && !options.trailers) throw new RafsError("Cannot write blob: a ToC needs trailers", "unsupported");
    this.#options = options;
    this.#position = options.dataSize;
    this.#size = options.dataSize;
    this.#features = options.chunks.features | BLOB_FEATURE.capTarToc |
      (options.trailers ? BLOB_FEATURE.hasTarHeader : 0) | (options.toc ? BLOB_FEATURE.hasToc : 0);
    const { dataDigest } = options;
    if (dataDigest === undefined) {
      this.#features |= BLOB_FEATURE.separate;
      return;
    }
    const trailer = this.#trailer(SECTION.blob, options.dataSize);
    if (options.toc) {
      this.#addToc({
        name: SECTION.blob,
        compressor: "none",
        digest: dataDigest(trailer),
        offset: 0,
        size: options.dataSize,
        uncompressedSize: options.chunks.uncompressedSize,
      });
    }
  }

  /** Adds compression info and its header. A blob without chunks has neither. */
  addMeta(features: number): void {
    const { chunks, codecs, toc } = this.#options;
    this.#features |= features;
    if (chunks.count === 0) return;
    const plain = chunks.toBytes();
    const smaller = codecs.compressor === "none" ? plain : codecs.compress(plain);
    const stored = smaller.length < plain.length ? smaller : plain;
    const meta: BlobMetaLocation = {
      compressor: stored === plain ? "none" : codecs.compressor,
      offset: this.#position,
      compressedSize: stored.length,
      uncompressedSize: plain.length,
    };
    const header = chunks.header(meta, this.#features);
    this.#meta = meta;
    this.#append(stored);
    this.#append(header);
    this.#trailer(SECTION.meta, stored.length + header.length);
    if (!toc) return;
    const { sha256 } = codecs;
    this.#addToc({
      name: SECTION.meta,
      compressor: meta.compressor,
      digest: sha256(plain),
      offset: meta.offset,
      size: stored.length,
      uncompressedSize: plain.length,
    });
    this.#addToc({
      name: SECTION.metaHeader,
      compressor: "none",
      digest: sha256(header),
      offset: meta.offset + stored.length,
      size: CI_HEADER.SIZE,
      uncompressedSize: CI_HEADER.SIZE,
    });
  }

  /**
   * Adds the digests of all chunks, 32 bytes each. Requires a ToC.
   *
   * The CI header contains the feature bit, so pass `BLOB_FEATURE.inlinedChunkDigest` to {@link addMeta} beforehand.
   */
  addDigests(digests: Uint8Array): void {
    const { chunks, codecs, toc } = this.#options;
    if (!toc || digests.length !== chunks.count * DIGEST_SIZE) {
      throw new RafsError(
        `Cannot write blob digests: ${digests.length} bytes for ${chunks.count} chunks`,
        "unsupported",
      );
    }
    const at = this.#append(digests, { inId: false });
    this.#trailer(SECTION.digest, digests.length);
    this.#addToc({
      name: SECTION.digest,
      compressor: "none",
      digest: codecs.sha256(digests),
      offset: at,
      size: digests.length,
      uncompressedSize: digests.length,
    });
  }

  /** Fields of the blob table entry. For an inlined bootstrap they cover only what precedes the bootstrap. */
  describe():
    & Pick<
      BlobDescriptor,
      "chunkCount" | "features" | "compressedSize" | "uncompressedSize" | "meta"
    >
    & { readonly tocSize: number; readonly tocDigest?: Uint8Array } {
    return {
      chunkCount: this.#options.chunks.count,
      features: this.#features >>> 0,
      compressedSize: this.#size,
      uncompressedSize: this.#options.chunks.uncompressedSize,
      meta: this.#meta ?? { compressor: "none", offset: 0, compressedSize: 0, uncompressedSize: 0 },
      tocSize: this.#tocSize,
      ...(this.#tocDigest === undefined ? {} : { tocDigest: this.#tocDigest }),
    };
  }

  /** Adds the bootstrap. Its blob table entry must have `BLOB_FEATURE.inlinedFsMeta`. */
  addBootstrap(bootstrap: Uint8Array): void {
    const { codecs, toc, trailers } = this.#options;
    if (!trailers) throw new RafsError("Cannot write blob: an inlined bootstrap needs trailers", "unsupported");
    const smaller = toc ? codecs.zstd(bootstrap) : bootstrap;
    const stored = smaller.length < bootstrap.length ? smaller : bootstrap;
    const at = this.#append(stored);
    this.#trailer(SECTION.bootstrap, stored.length);
    if (!toc) return;
    this.#addToc({
      name: SECTION.bootstrap,
      compressor: stored === bootstrap ? "none" : "zstd",
      digest: codecs.sha256(bootstrap),
      offset: at,
      size: stored.length,
      uncompressedSize: bootstrap.length,
    });
  }

  /** Adds the ToC. Nothing may be added afterwards; {@link describe} now covers the whole blob. */
  finish(): void {
    if (!this.#options.toc) return;
    const entries = new Uint8Array(this.#toc.length * TOC_ENTRY);
    this.#toc.forEach((entry, k) => entries.set(entry, k * TOC_ENTRY));
    this.#append(entries);
    const trailer = this.#trailer(SECTION.toc, entries.length);
    const both = new Uint8Array(entries.length + trailer.length);
    both.set(entries);
    both.set(trailer, entries.length);
    this.#tocSize = both.length;
    this.#tocDigest = this.#options.codecs.sha256(both);
  }

  #append(bytes: Uint8Array, { inId }: Pick<Piece, "inId"> = { inId: true }): number {
    const at = this.#position;
    this.pieces.push({ bytes, inId });
    this.#position += bytes.length;
    this.#size = this.#position;
    return at;
  }

  #trailer(name: string, size: number): Uint8Array {
    if (!this.#options.trailers) return new Uint8Array(0);
    const trailer = makeTrailer(name, size);
    this.#append(trailer);
    return trailer;
  }

  #addToc({ name, compressor, digest, offset, size, uncompressedSize }: TocEntry): void {
    const flags = compressor === "gzip" ? undefined : TOC_FLAG[compressor];
    if (flags === undefined) throw new RafsError(`Cannot write blob ToC: ${name} is ${compressor}`, "unsupported");
    const entry = new Uint8Array(TOC_ENTRY);
    const view = new DataView(entry.buffer);
    view.setUint32(TOC.flags, flags, true);
    entry.set(new TextEncoder().encode(name), TOC.name);
    entry.set(digest, TOC.digest);
    writeU64(view, TOC.offset, offset);
    writeU64(view, TOC.size, size);
    writeU64(view, TOC.uncompressedSize, uncompressedSize);
    this.#toc.push(entry);
  }
}
