/**
 * Loads the chunk table of a blob from the cache, the image, or the blob itself.
 *
 * - v6: the compression info of the blob (`.blob.meta`), cached in nydusd's format once read, with digests from the
 *   bootstrap.
 * - v5: the chunk records of the bootstrap; nothing is fetched.
 * - TARFS: the tar itself (tar_digests.ts).
 *
 * Tables from outside the bootstrap are not covered by its digest, so they are trusted only if they parse and agree
 * with the bootstrap: an inconsistent cached table is fetched again, an inconsistent fetched one is an error. A table
 * that led to wrong bytes is used only if no other can be had (doubtful_table.ts). Data are verified against digests in
 * any case.
 *
 * @module
 */
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import {
  applyDigestArray,
  applyDigests,
  blobMetaRange,
  chunkColumnsFromRecords,
  parseBlobMeta,
  splitBlobMeta,
} from "../../rafs/blob/blob_meta.ts";
import { type BlobDescriptor, type BlobMetaLocation, RafsError } from "../../rafs/bootstrap.ts";
import { cacheBlobMetaImage, cacheMetaSize, splitCacheBlobMeta } from "../../rafs/blob/cache_layout.ts";
import { type ChunkColumns, DIGEST_SIZE } from "../../rafs/blob/chunk_table.ts";
import { BLOB_FEATURE, has } from "../../rafs/format/flags.ts";
import { readToc, SECTION } from "../../rafs/blob/toc.ts";
import { decryptXts } from "../codec/aes_xts.ts";
import { decompressInto } from "../codec/codec.ts";
import { freshOr } from "./doubtful_table.ts";
import { readMetaFile, type TableCache, type TableSource } from "./table_source.ts";
import { addTarDigests } from "./tar_digests.ts";

const log = logger("blob");

interface Meta {
  readonly ci: Uint8Array;
  readonly header: Uint8Array;
}

interface Parsed extends Meta {
  readonly columns: ChunkColumns;
}

/**
 * Loads the chunk table with every digest that the image knows.
 *
 * @param cache undefined: cached tables are neither used nor stored
 * @throws {RafsError} when bootstrap and table contradict each other
 * @throws {NydusGdError} "corrupt" for compression info that cannot be decompressed; errors of `read`
 */
export async function loadChunkTable(source: TableSource, cache: TableCache | undefined): Promise<ChunkColumns> {
  const { descriptor } = source;
  const { meta } = descriptor;
  if (meta === undefined) {
    const columns = chunkColumnsFromRecords(descriptor, source.records());
    if (has(descriptor.features, BLOB_FEATURE.tarfs)) await addTarDigests(source, columns, cache);
    return columns;
  }
  return await withDigests(source, await metaColumns(source, meta, cache));
}

/** Loads the table from a blob's compression info. */
async function metaColumns(
  source: TableSource,
  meta: BlobMetaLocation,
  cache: TableCache | undefined,
): Promise<ChunkColumns> {
  const cached = cache && tryParse(source, "cached", readCached(source, meta, cache.path));
  if (cached !== undefined) return cached.columns;
  const doubtful = cache && tryParse(source, "doubtful", readCached(source, meta, cache.doubtfulPath));
  const embedded = tryParse(source, "embedded", readEmbedded(source, meta));
  if (embedded !== undefined && doubtful === undefined) {
    store(cache, embedded);
    return embedded.columns;
  }
  const fetch = async (from: TableSource) => {
    const { offset, length } = blobMetaRange(meta);
    const fetched = parseStored(from, meta, await from.read(offset, length));
    store(cache, fetched);
    return fetched.columns;
  };
  return doubtful === undefined
    ? await fetch(source)
    : await freshOr(source, fetch, () => (embedded ?? doubtful).columns);
}

function parse(source: TableSource, meta: Meta): Parsed {
  const { descriptor } = source;
  const columns = parseBlobMeta(descriptor, meta.ci, meta.header);
  applyDigests(columns, descriptor.index, source.records());
  return { ...meta, columns };
}

function tryParse(source: TableSource, kind: string, read: () => Meta | undefined): Parsed | undefined {
  try {
    const meta = read();
    return meta && parse(source, meta);
  } catch (error) {
    if (!(error instanceof RafsError) || error.code === "unsupported") throw error;
    log.warn("blob meta not used", { blob: source.id, kind, reason: messageOf(error) });
    return undefined;
  }
}

/** Returns a reader of a cached table. */
function readCached({ descriptor }: TableSource, meta: BlobMetaLocation, path: string): () => Meta | undefined {
  return () => {
    const bytes = readMetaFile(path, cacheMetaSize(meta.uncompressedSize));
    return bytes && splitCacheBlobMeta(descriptor, bytes);
  };
}

/** Returns a reader of the table shipped with the image. */
function readEmbedded(
  { descriptor, embeddedMeta: bytes }: TableSource,
  meta: BlobMetaLocation,
): () => Meta | undefined {
  return () => {
    if (bytes?.length === cacheMetaSize(meta.uncompressedSize)) return splitCacheBlobMeta(descriptor, bytes);
    return bytes && openMeta(descriptor, meta, bytes);
  };
}

/** @throws {NydusGdError} "invalid-image", "corrupt", "unsupported", with the blob's name */
function parseStored(source: TableSource, meta: BlobMetaLocation, bytes: Uint8Array): Parsed {
  try {
    return parse(source, openMeta(source.descriptor, meta, bytes));
  } catch (error) {
    if (!hasCode(error, "invalid-image", "corrupt", "unsupported")) throw error;
    const message = `Cannot read chunk table of blob ${source.id}: ${error.message}`;
    throw new NydusGdError(error.code, message, { cause: error });
  }
}

/** Decrypts the parts, each separately, and decompresses them. */
function openMeta({ cipher }: BlobDescriptor, meta: BlobMetaLocation, bytes: Uint8Array): Meta {
  const stored = splitBlobMeta(bytes, meta);
  const open = (part: Uint8Array) => cipher === undefined ? part : decryptXts(cipher, part);
  const ci = open(stored.ci), header = open(stored.header);
  if (meta.compressor === "none") return { ci, header };
  const plain = new Uint8Array(meta.uncompressedSize);
  decompressInto(meta.compressor, ci, plain);
  return { ci: plain, header };
}

function store(cache: TableCache | undefined, { ci, header }: Meta): void {
  cache?.keep(cacheBlobMetaImage(ci, header));
}

/** Reads digests from the blob's digest section, if the image has no digests of its own. */
async function withDigests(source: TableSource, columns: ChunkColumns): Promise<ChunkColumns> {
  if (!has(source.descriptor.features, BLOB_FEATURE.inlinedChunkDigest) || columns.count === 0) return columns;
  if (columns.digests.some((byte) => byte !== 0)) return columns;
  const toc = await readToc((offset, length) => source.read(offset, length), await source.size());
  const section = toc?.find(({ name }) => name === SECTION.digest);
  if (section === undefined) return columns;
  if (section.compressor !== "none" || section.size !== columns.count * DIGEST_SIZE) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot read digests of blob ${source.id}: the section has ${section.size} bytes, expected ${
        columns.count * DIGEST_SIZE
      } uncompressed`,
    );
  }
  applyDigestArray(columns, await source.read(section.offset, section.size));
  return columns;
}
