/**
 * The end of a data blob: tar trailers, the table of contents (ToC), and an optional bootstrap.
 *
 * ```
 * │ chunk data │T│ CI + header │T│ digests │T│ image.boot │T│ ToC entries │T│      T: 512-byte tar header
 * ```
 * Each tar header describes the section *before* it, without padding, so a blob is walked backwards from its end. If
 * present, the ToC is the last section and says how each part is stored. Older blobs with a bootstrap end with the
 * trailer of `image.boot`, which is stored uncompressed.
 *
 * Functions take a callback that reads a range of the blob, so they work with files, registries and buffers. Source:
 * dragonflyoss/nydus rafs/src/blob/toc.rs and builder.
 *
 * @module
 */
import type { Compressor } from "../bootstrap.ts";
import { LIMIT } from "../format/flags.ts";
import { readU64, unreadable, viewOf } from "../format/guard.ts";

/** Reads exactly `length` bytes of the blob at `offset`. */
export type ReadRange = (offset: number, length: number) => Promise<Uint8Array>;

/** Bytes of a tar header. */
export const TAR_HEADER = 512;
/** Bytes of a ToC entry. */
export const TOC_ENTRY = 128;
/** Section names. */
export const SECTION = {
  blob: "image.blob",
  meta: "blob.meta",
  metaHeader: "blob.meta.header",
  digest: "blob.digest",
  bootstrap: "image.boot",
  toc: "rafs.blob.toc",
} as const;

/** Maximum bytes of a decompressed bootstrap: the limit of the format's tools. */
export const MAX_BOOTSTRAP = 2 ** 31;
/** Maximum number of sections or ToC entries; more than any real blob has. */
const MAX_SECTIONS = 32;

const tarField = { name: 0, mode: 100, size: 124, mtime: 136, checksum: 148, type: 156, magic: 257 } as const;
const GNU_MAGIC = "ustar  \0";
const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);

/** One section, followed by its trailer. */
export interface Section {
  readonly name: string;
  /** Offset of its bytes in the blob. */
  readonly offset: number;
  readonly size: number;
}

/** Sum of the header's bytes, with the checksum field counted as spaces. */
export function tarChecksum(header: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < TAR_HEADER; i++) {
    sum += i >= tarField.checksum && i < tarField.checksum + 8 ? 0x20 : header[i] as number;
  }
  return sum;
}

/**
 * Parses a trailer into name and size of the section before it.
 *
 * @param at offset of the trailer in the blob
 * @returns undefined if the bytes are not a trailer, as at the end of a blob without trailers
 */
export function parseTrailer(header: Uint8Array, at: number): Section | undefined {
  if (header.length !== TAR_HEADER || latin1(header.subarray(tarField.magic, tarField.magic + 8)) !== GNU_MAGIC) {
    return undefined;
  }
  const type = header[tarField.type];
  const checksum = octal(header, tarField.checksum, 8);
  if ((type !== 0x30 && type !== 0) || checksum !== tarChecksum(header)) return undefined;
  const size = octal(header, tarField.size, 12);
  if (size === undefined || size > at) unreadable("blob trailer", at, `the section before it has ${size} bytes`);
  const name = header.subarray(tarField.name, tarField.name + 100);
  const end = name.indexOf(0);
  return { name: latin1(end < 0 ? name : name.subarray(0, end)), offset: at - size, size };
}

function octal(header: Uint8Array, at: number, size: number): number | undefined {
  const text = latin1(header.subarray(at, at + size)).replace(/^ +|[ \0]+$/g, "");
  if (text === "") return 0;
  const value = /^[0-7]+$/.test(text) ? parseInt(text, 8) : NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * Yields the sections of a blob backwards from its end, until one has no trailer.
 *
 * @param blobSize bytes of the whole blob
 */
export async function* walkSections(read: ReadRange, blobSize: number): AsyncGenerator<Section> {
  let end = blobSize;
  for (let count = 0; end >= TAR_HEADER; count++) {
    const at = end - TAR_HEADER;
    const section = parseTrailer(await read(at, TAR_HEADER), at);
    if (section === undefined) return;
    if (count === MAX_SECTIONS) unreadable("blob trailer", at, `there are more than ${MAX_SECTIONS} sections`);
    yield section;
    end = section.offset;
  }
}

/** ToC entry: how a part of the blob is stored. */
export interface TocEntry {
  readonly name: string;
  readonly compressor: Compressor;
  /** sha256 of the plain bytes; 32 zeros: not checked. */
  readonly digest: Uint8Array;
  /** Offset of the stored bytes. Unreliable for `image.blob`, whose data always start at 0. */
  readonly offset: number;
  /** Stored bytes. */
  readonly size: number;
  readonly uncompressedSize: number;
}

/** Byte offsets in a ToC entry. */
export const TOC = { flags: 0, name: 8, digest: 24, offset: 56, size: 64, uncompressedSize: 72 } as const;
/** Flags of a ToC entry; exactly one is set. */
export const TOC_FLAG = { none: 1, zstd: 2, lz4_block: 4 } as const;

/**
 * Parses the entries of a ToC.
 *
 * @param blobSize bytes of the whole blob; entries other than `image.blob` must lie inside it
 */
export function parseToc(bytes: Uint8Array, blobSize: number): TocEntry[] {
  const what = "blob ToC";
  if (bytes.length === 0 || bytes.length % TOC_ENTRY !== 0 || bytes.length > MAX_SECTIONS * TOC_ENTRY) {
    unreadable(what, 0, `it has ${bytes.length} bytes, expected 1 to ${MAX_SECTIONS} entries of ${TOC_ENTRY}`);
  }
  const view = viewOf(bytes);
  const entries: TocEntry[] = [];
  for (let at = 0; at < bytes.length; at += TOC_ENTRY) {
    const flags = view.getUint32(at + TOC.flags, true);
    const compressor = flags === TOC_FLAG.none
      ? "none"
      : flags === TOC_FLAG.zstd
      ? "zstd"
      : flags === TOC_FLAG.lz4_block
      ? "lz4_block"
      : unreadable(what, at, `flags are ${flags}`);
    const field = bytes.subarray(at + TOC.name, at + TOC.digest);
    const end = field.indexOf(0);
    const name = latin1(end < 0 ? field : field.subarray(0, end));
    const offset = readU64(view, at + TOC.offset, what);
    const size = readU64(view, at + TOC.size, what);
    const uncompressedSize = readU64(view, at + TOC.uncompressedSize, what);
    if (entries.some((entry) => entry.name === name)) unreadable(what, at, `${JSON.stringify(name)} occurs twice`);
    if (name !== SECTION.blob) {
      if (offset + size > blobSize) unreadable(what, at, `${JSON.stringify(name)} ends beyond the blob of ${blobSize}`);
      if (compressor === "none" && size !== uncompressedSize) {
        unreadable(what, at, `${JSON.stringify(name)} has ${uncompressedSize} bytes stored uncompressed in ${size}`);
      }
    }
    entries.push({
      name,
      compressor,
      digest: bytes.subarray(at + TOC.digest, at + TOC.digest + 32),
      offset,
      size,
      uncompressedSize,
    });
  }
  return entries;
}

/** Reads the ToC at the end of a blob; undefined if there is none. */
export async function readToc(read: ReadRange, blobSize: number): Promise<TocEntry[] | undefined> {
  for await (const section of walkSections(read, blobSize)) {
    if (section.name !== SECTION.toc) return undefined;
    if (section.size > MAX_SECTIONS * TOC_ENTRY) unreadable("blob ToC", section.offset, `it has ${section.size} bytes`);
    return parseToc(await read(section.offset, section.size), blobSize);
  }
  return undefined;
}

/** Location and compression of the bootstrap inside a data blob. */
export interface BootstrapLocation {
  readonly offset: number;
  /** Stored bytes. */
  readonly size: number;
  readonly compressor: Compressor;
  readonly uncompressedSize: number;
  /** sha256 of the plain bytes, undefined if the blob does not record it. */
  readonly digest: Uint8Array | undefined;
}

/** Finds the bootstrap of a data blob by the ToC or else by the trailers. Undefined if the blob has none. */
export async function locateBootstrap(read: ReadRange, blobSize: number): Promise<BootstrapLocation | undefined> {
  const located = await findBootstrap(read, blobSize);
  if (located === undefined) return undefined;
  const { uncompressedSize, offset } = located;
  if (uncompressedSize === 0 || uncompressedSize > Math.min(MAX_BOOTSTRAP, LIMIT.compressedSize)) {
    unreadable("inlined bootstrap", offset, `it has ${uncompressedSize} bytes, expected 1 to ${MAX_BOOTSTRAP}`);
  }
  return located;
}

async function findBootstrap(read: ReadRange, blobSize: number): Promise<BootstrapLocation | undefined> {
  const toc = await readToc(read, blobSize);
  const entry = toc?.find((candidate) => candidate.name === SECTION.bootstrap);
  if (entry !== undefined) {
    return { ...entry, digest: entry.digest.every((byte) => byte === 0) ? undefined : entry.digest };
  }
  for await (const section of walkSections(read, blobSize)) {
    if (section.name !== SECTION.bootstrap) continue;
    return { ...section, compressor: "none", uncompressedSize: section.size, digest: undefined };
  }
  return undefined;
}

/** Codecs that {@link extractBootstrap} needs from its caller; this layer has none. */
export interface Codecs {
  /** Returns exactly `uncompressedSize` plain bytes, or fails. */
  decompress(compressor: Compressor, data: Uint8Array, uncompressedSize: number): Uint8Array | Promise<Uint8Array>;
  sha256(data: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/**
 * Returns the bootstrap inside a data blob, decompressed and verified against its digest. Undefined if the blob has
 * none.
 *
 * @throws {RafsError} when it is damaged; errors of `read` and `codecs` pass through
 */
export async function extractBootstrap(
  read: ReadRange,
  blobSize: number,
  codecs: Codecs,
): Promise<Uint8Array | undefined> {
  const located = await locateBootstrap(read, blobSize);
  if (located === undefined) return undefined;
  const { offset, size, compressor, uncompressedSize, digest } = located;
  const stored = await read(offset, size);
  const plain = compressor === "none" ? stored : await codecs.decompress(compressor, stored, uncompressedSize);
  if (plain.length !== uncompressedSize) {
    unreadable("inlined bootstrap", offset, `it decompresses to ${plain.length} bytes, expected ${uncompressedSize}`);
  }
  if (digest !== undefined) {
    const actual = await codecs.sha256(plain);
    if (actual.toHex() !== digest.toHex()) {
      unreadable("inlined bootstrap", offset, `sha256 is ${actual.toHex()}, expected ${digest.toHex()}`);
    }
  }
  return plain;
}
