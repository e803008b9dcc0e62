/**
 * The RAFS images in tests/fixtures/rafs: finding them, reading their data, and comparing them with their listings.
 *
 * The reader is as simple as possible: whole blobs in memory, every chunk decoded and verified each time. It shares no
 * code with lib/blob except the cipher.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { blake3 } from "hash-wasm";
import { decryptXts } from "../../../lib/blob/codec/aes_xts.ts";
import type { BlobDescriptor, Bootstrap, Compressor, InodeAttr } from "../../../lib/rafs/bootstrap.ts";
import { blobMetaRange, parseBlobMeta, splitBlobMeta } from "../../../lib/rafs/blob/blob_meta.ts";
import { applyDigests } from "../../../lib/rafs/blob/chunk_digests.ts";
import { chunkColumnsFromRecords } from "../../../lib/rafs/blob/chunk_records.ts";
import { type ChunkColumns, DIGEST_SIZE, NO_BATCH } from "../../../lib/rafs/blob/chunk_table.ts";
import { CHUNK_FLAG } from "../../../lib/rafs/bootstrap.ts";
import { BLOB_FEATURE, effectiveBlobId, has } from "../../../lib/rafs/format/flags.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { type Codecs, extractBootstrap, type ReadRange } from "../../../lib/rafs/blob/toc.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import { decodeLz4Block } from "./lz4_block.ts";
import { REPOSITORY } from "../repository.ts";

/** The images in the repository. */
export const RAFS_FIXTURES = join(REPOSITORY, "tests/fixtures/rafs");

/** Additional images outside the repository; the directory may be absent. */
export const MORE_FIXTURES = join(REPOSITORY, "../shared/fixtures");

/** One line of a listing; see the README of the images. */
export interface ListedEntry {
  readonly path: string;
  readonly type: string;
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly mtime: number | bigint;
  readonly mtime_nsec: number;
  readonly size?: number;
  readonly sha256?: string;
  readonly target?: string;
  readonly rdev?: [number, number];
  readonly link?: string;
  readonly xattrs?: Record<string, string>;
}

/** An image in a fixture directory. */
export interface RafsFixture {
  readonly name: string;
  readonly directory: string;
  /** Path of the listing. */
  readonly listing: string;
  /** Path of the bootstrap, or of the blob that contains it. */
  readonly bootstrap: string;
  /** Id of the blob that contains the bootstrap. */
  readonly container: string | undefined;
  readonly blobsAbsent: boolean;
}

/** Names of images of the repository that are small enough to be tried with many damages. */
export const SMALL_FIXTURES: readonly string[] = [
  "v6-layers-merged",
  "v5-layers-merged",
  "v6-odd-root",
  "v5-odd-root",
  "v6-zran",
  "v6-tarfs",
  "v5-repeatable",
  "v5-1.0-unnumbered",
];

/** Lists the images of the repository and the additional ones that it does not have. */
export function allRafsFixtures(): RafsFixture[] {
  const own = listRafsFixtures();
  const names = new Set(own.map(({ name }) => name));
  return [...own, ...listRafsFixtures(MORE_FIXTURES).filter(({ name }) => !names.has(name))];
}

/** Lists every image with a listing, by name. Empty if the directory does not exist. */
export function listRafsFixtures(directory: string = RAFS_FIXTURES): RafsFixture[] {
  const fixtures: RafsFixture[] = [];
  for (const name of directoryNames(directory)) {
    const meta = readMeta(join(directory, name, "meta.json"));
    if (meta?.expect === undefined) continue;
    const inlined = meta.bootstrap?.startsWith("blobs/") === true ? meta.bootstrap : undefined;
    fixtures.push({
      name,
      directory,
      listing: join(directory, meta.expect),
      bootstrap: join(directory, inlined ?? join(name, meta.bootstrap ?? "bootstrap")),
      container: inlined === undefined ? undefined : basename(inlined),
      blobsAbsent: meta.blobs_absent === true,
    });
  }
  return fixtures;
}

/** Finds an image of the repository. */
export function fixtureOf(name: string): RafsFixture {
  const found = listRafsFixtures().find((each) => each.name === name);
  if (found === undefined) throw new Error(`Cannot find fixture ${name}`);
  return found;
}

function directoryNames(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].filter((entry) => entry.isDirectory).map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

interface Meta {
  readonly bootstrap?: string;
  readonly expect?: string | null;
  readonly blobs_absent?: boolean;
}

function readMeta(path: string): { bootstrap?: string; expect?: string; blobs_absent?: boolean } | undefined {
  try {
    const { bootstrap, expect, blobs_absent } = JSON.parse(Deno.readTextFileSync(path)) as Meta;
    return {
      ...(bootstrap === undefined ? {} : { bootstrap }),
      ...(typeof expect === "string" ? { expect } : {}),
      ...(blobs_absent === undefined ? {} : { blobs_absent }),
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Reads the listing of an image. */
export function readListing(path: string): ListedEntry[] {
  return Deno.readTextFileSync(path).trimEnd().split("\n").map((line) => JSON.parse(line) as ListedEntry);
}

/** The listing of an image without the attributes that its builder did not store. */
export function storedListing(fixture: RafsFixture): ListedEntry[] {
  const owner = fixture.name.endsWith("-repeatable") ? { uid: 0, gid: 0 } : {};
  return readListing(fixture.listing).map((entry) =>
    entry.path === "/" ? { ...entry, ...owner, mtime: 0, mtime_nsec: 0 } : { ...entry, ...owner }
  );
}

/** Reads an image's bootstrap, extracting it from its blob if inlined. */
export async function readFixtureBootstrap(fixture: RafsFixture): Promise<Uint8Array> {
  const bytes = await Deno.readFile(fixture.bootstrap);
  if (fixture.container === undefined) return bytes;
  const plain = await extractBootstrap(rangesOf(bytes), bytes.length, codecs);
  if (plain === undefined) throw new Error(`Cannot open ${fixture.name}: no bootstrap in ${fixture.container}`);
  return plain;
}

/** A {@link ReadRange} on bytes in memory. */
export function rangesOf(bytes: Uint8Array): ReadRange {
  return (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length));
}

/** Decompresses without our own codecs. */
export function decompress(compressor: Compressor, data: Uint8Array, size: number): Uint8Array {
  switch (compressor) {
    case "none":
      return data;
    case "lz4_block":
      return decodeLz4Block(data, size);
    case "gzip":
      return new Uint8Array(gunzipSync(data, { maxOutputLength: size }));
    case "zstd":
      return new Uint8Array(zstdDecompressSync(data, { maxOutputLength: size }));
  }
}

/** {@link Codecs} without our own code. */
export const codecs: Codecs = {
  decompress,
  sha256: (data) => new Uint8Array(createHash("sha256").update(data).digest()),
};

/** One blob in memory. */
export class MemoryBlob {
  private constructor(
    readonly descriptor: BlobDescriptor,
    readonly columns: ChunkColumns,
    /** Number of chunks whose digest is known. */
    readonly knownDigests: number,
    private readonly bytes: Uint8Array,
    /** For a gzip layer: the offsets of its contexts in the tar. */
    private readonly contextOffsets: readonly number[] | undefined,
  ) {}

  /**
   * Reads chunk table and digests of a blob given as bytes.
   *
   * @param metaBytes bytes of the blob that holds the compression info, if it is a separate one
   */
  static open(
    bootstrap: Bootstrap,
    descriptor: BlobDescriptor,
    bytes: Uint8Array,
    metaBytes: Uint8Array = bytes,
  ): MemoryBlob {
    const records = () => bootstrap.chunkRecords();
    const { meta, cipher } = descriptor;
    if (meta === undefined) {
      const columns = chunkColumnsFromRecords(descriptor, records());
      return new MemoryBlob(descriptor, columns, applyDigests(columns, descriptor.index, records()), bytes, undefined);
    }
    const { offset, length } = blobMetaRange(meta);
    const stored = splitBlobMeta(metaBytes.subarray(offset, offset + length), meta);
    const open = (part: Uint8Array) => cipher === undefined ? part : decryptXts(cipher, part);
    const plain = decompress(meta.compressor, open(stored.ci), meta.uncompressedSize);
    const columns = parseBlobMeta(descriptor, plain, open(stored.header));
    const known = applyDigests(columns, descriptor.index, records());
    if (!has(descriptor.features, BLOB_FEATURE.zran)) {
      return new MemoryBlob(descriptor, columns, known, bytes, undefined);
    }
    // struct ZranInflateContext has 40 bytes, with the tar offset at 8; they follow 24 bytes per chunk
    const view = new DataView(plain.buffer, plain.byteOffset);
    const contexts = Array.from(
      columns.batchUncompressedSize,
      (_, k) => Number(view.getBigUint64(24 * columns.count + 40 * k + 8, true)),
    );
    return new MemoryBlob(descriptor, columns, known, new Uint8Array(gunzipSync(bytes)), contexts);
  }

  /** Whether the image has a digest of a chunk: merged images lack those of chunks that no file uses. */
  hasDigest(index: number): boolean {
    return this.columns.digests.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE).some((byte) => byte !== 0);
  }

  /** Returns the verified plain bytes of a chunk. */
  async chunk(index: number): Promise<Uint8Array> {
    const { columns, descriptor, contextOffsets } = this;
    const batch = columns.batch[index] as number;
    const size = columns.uncompressedSize[index] as number;
    if (contextOffsets !== undefined && batch !== NO_BATCH) {
      const from = (contextOffsets[batch] as number) + (columns.batchOffset[index] as number);
      return await this.#verified(index, this.bytes.subarray(from, from + size));
    }
    const at = columns.compressedOffset[index] as number;
    const found = this.bytes.subarray(at, at + (columns.compressedSize[index] as number));
    const encrypted = ((columns.flags[index] as number) & CHUNK_FLAG.encrypted) !== 0;
    const stored = encrypted && descriptor.cipher !== undefined ? decryptXts(descriptor.cipher, found) : found;
    const member = batch !== NO_BATCH;
    const whole = member ? columns.batchUncompressedSize[batch] as number : size;
    const isShort = encrypted && stored.length === whole; // shorter than a cipher block, and not compressed
    const compressed = ((columns.flags[index] as number) & CHUNK_FLAG.compressed) !== 0 && !isShort;
    const plain = compressed ? decompress(descriptor.compressor, stored, whole) : stored;
    const from = member ? columns.batchOffset[index] as number : 0;
    return await this.#verified(index, plain.subarray(from, from + size));
  }

  async #verified(index: number, data: Uint8Array): Promise<Uint8Array> {
    const { columns, descriptor } = this;
    if (has(descriptor.features, BLOB_FEATURE.tarfs)) return data; // a tar has no chunk digests
    const digest = descriptor.digester === "blake3" ? await blake3(data) : (await codecs.sha256(data)).toHex();
    const expected = columns.digests.slice(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE).toHex();
    if (digest !== expected) throw new Error(`Cannot read chunk ${index} of ${descriptor.id}: digest is ${digest}`);
    return data;
  }
}

/** An image with all its blobs in memory. */
export class MemoryImage {
  private constructor(readonly bootstrap: Bootstrap, readonly blobs: readonly MemoryBlob[]) {}

  static async open(fixture: RafsFixture): Promise<MemoryImage> {
    const bootstrap = openBootstrap(await readFixtureBootstrap(fixture));
    const blobs = await Promise.all(bootstrap.blobs.map(async (blob) => {
      const id = effectiveBlobId(blob, fixture.container);
      const read = (name: string) => Deno.readFile(join(fixture.directory, "blobs", name));
      return MemoryBlob.open(bootstrap, blob, await read(id), await read(blob.metaBlobId ?? id));
    }));
    return new MemoryImage(bootstrap, blobs);
  }

  /** Returns the content of a regular file; every extent is checked against the chunk table. */
  async content(ino: number, size: number): Promise<Uint8Array> {
    const out = new Uint8Array(size);
    let at = 0;
    for (const extent of this.bootstrap.extents(ino, 0, size)) {
      const blob = this.blobs[extent.blobIndex] as MemoryBlob;
      const { columns } = blob;
      if (
        extent.fileOffset !== at || columns.uncompressedOffset[extent.chunkIndex] !== extent.chunkOffset ||
        columns.uncompressedSize[extent.chunkIndex] !== extent.chunkLength
      ) {
        throw new Error(`Cannot read inode ${ino}: extent at ${at} is not the chunk ${extent.chunkIndex}`);
      }
      const chunk = await blob.chunk(extent.chunkIndex);
      out.set(chunk.subarray(extent.blobOffset - extent.chunkOffset).subarray(0, extent.length), at);
      at += extent.length;
    }
    if (at !== size) throw new Error(`Cannot read inode ${ino}: extents end at ${at} of ${size}`);
    return out;
  }
}

const TYPES = new Map([
  [0o010000, "fifo"],
  [0o020000, "chr"],
  [0o040000, "dir"],
  [0o060000, "blk"],
  [0o100000, "reg"],
  [0o120000, "lnk"],
  [0o140000, "sock"],
]);

/** Encodes as in a listing: bytes outside `[A-Za-z0-9_.~/-]` become %XX. */
export function percentEncode(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    text += /[A-Za-z0-9_.~/-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

/**
 * Lists the tree of a bootstrap in the format and order of a listing.
 *
 * @param content returns the content of a file; undefined: omit `sha256`
 */
export async function listBootstrap(
  bootstrap: Bootstrap,
  content?: (ino: number, size: number) => Promise<Uint8Array>,
): Promise<ListedEntry[]> {
  const entries: { entry: ListedEntry; ino: number }[] = [];
  const subdirectories = new Map<number, number>();
  for (const { path, ino, parent, attr } of walkTree(bootstrap)) {
    const entry = await listEntry(bootstrap, path, attr, content);
    if (entry.type === "dir" && ino !== parent) subdirectories.set(parent, (subdirectories.get(parent) ?? 0) + 1);
    entries.push({ entry, ino });
  }
  entries.sort((a, b) => a.entry.path === b.entry.path ? 0 : decode(a.entry.path) < decode(b.entry.path) ? -1 : 1);
  const first = new Map<number, string>();
  return entries.map(({ entry, ino }) => {
    if (entry.type === "dir") return { ...entry, nlink: 2 + (subdirectories.get(ino) ?? 0) };
    if (entry.type !== "reg" || entry.nlink < 2) return entry;
    const link = first.get(ino) ?? entry.path;
    first.set(ino, link);
    return { ...entry, link };
  });
}

/** Decodes a path to a character per byte, by which listings are sorted. */
function decode(path: string): string {
  return path.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

async function listEntry(
  bootstrap: Bootstrap,
  path: Uint8Array,
  attr: Readonly<InodeAttr>,
  content?: (ino: number, size: number) => Promise<Uint8Array>,
): Promise<ListedEntry> {
  const { ino, mode, uid, gid, nlink, mtime, mtimeNsec, size, rdev } = attr;
  const type = TYPES.get(mode & 0o170000) ?? "?";
  const target = type === "lnk" ? bootstrap.readlink(ino) : undefined;
  const names = [...bootstrap.xattrs(ino)].map(([name, value]) => [latin1(name), value.toBase64()] as const).sort();
  return {
    path: percentEncode(path),
    type,
    mode: (mode & 0o7777).toString(8).padStart(4, "0"),
    uid,
    gid,
    nlink,
    mtime,
    mtime_nsec: mtimeNsec,
    ...(type === "reg" ? { size } : {}),
    ...(type === "reg" && content !== undefined
      ? { sha256: createHash("sha256").update(await content(ino, size)).digest("hex") }
      : {}),
    ...(target === undefined ? {} : { target: percentEncode(target), size }),
    ...(type === "chr" || type === "blk"
      ? { rdev: [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)] }
      : {}),
    ...(names.length > 0 ? { xattrs: Object.fromEntries(names) } : {}),
  };
}

const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);
