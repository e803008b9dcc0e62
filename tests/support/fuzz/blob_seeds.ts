/**
 * Seeds from the ends of blobs: compression info, tables of contents, tails with an inlined bootstrap.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { concatenate, writeU64 } from "../../../lib/base/bytes.ts";
import { decryptXts } from "../../../lib/blob/codec/aes_xts.ts";
import type { BlobDescriptor, Compressor } from "../../../lib/rafs/bootstrap.ts";
import { blobMetaRange, CI_HEADER, splitBlobMeta } from "../../../lib/rafs/blob/blob_meta.ts";
import { CI } from "../../../lib/rafs/blob/blob_layout.ts";
import { effectiveBlobId, separateMetaId } from "../../../lib/rafs/format/flags.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { SECTION, TAR_HEADER, tarChecksum, TOC, TOC_ENTRY, TOC_FLAG } from "../../../lib/rafs/blob/toc.ts";
import { decompress, listRafsFixtures, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import { rawHeader } from "../archive/tar_blocks.ts";
import type { Field, Seed } from "./mutate_bytes.ts";

/** Size of the nonzero part of the CI header without its second magic, and of an input before the plain CI. */
const HEAD_BYTES = 64;
const INPUT_HEAD = 1 + HEAD_BYTES + 4;

/** The blobs whose compression infos are seeds. */
export interface BlobMetaCorpus {
  readonly blobs: readonly BlobDescriptor[];
  readonly seeds: readonly Seed[];
}

/**
 * Compression infos of the fixtures. An input consists of the blob's number, the header without its zeros, and the
 * plain CI.
 */
export async function blobMetaCorpus(): Promise<BlobMetaCorpus> {
  const blobs: BlobDescriptor[] = [];
  const seeds: Seed[] = [];
  for (const fixture of listRafsFixtures()) {
    for (const blob of openBootstrap(await readFixtureBootstrap(fixture), { treeOnly: true }).blobs) {
      if (blob.meta === undefined || blob.chunkCount === 0) continue;
      const id = separateMetaId(blob, fixture.container) ?? effectiveBlobId(blob, fixture.container);
      const bytes = await readBlob(join(fixture.directory, "blobs", id));
      if (bytes === undefined) continue;
      const { offset, length } = blobMetaRange(blob.meta);
      const stored = splitBlobMeta(bytes.subarray(offset, offset + length), blob.meta);
      const [ci, header] = [stored.ci, stored.header].map((part) => opened(blob, part)) as [Uint8Array, Uint8Array];
      const plain = decompress(blob.meta.compressor, ci, blob.meta.uncompressedSize);
      const head = [Uint8Array.of(blobs.length), header.subarray(0, HEAD_BYTES), header.subarray(CI_HEADER.magic2)];
      const fields: Field[] = [CI_HEADER.magic, CI_HEADER.features, CI_HEADER.compressor, CI_HEADER.entries]
        .map((at) => ({ at: 1 + at, size: 4 }));
      for (let at = 1 + CI_HEADER.offset; at < 1 + HEAD_BYTES; at += 8) fields.push({ at, size: 8 });
      const tables = Math.min(plain.length, blob.chunkCount * (CI.V2_SIZE + CI.CONTEXT_SIZE)); // what follows is data
      for (let at = INPUT_HEAD; at + 8 <= INPUT_HEAD + tables; at += 4) fields.push({ at, size: 4 });
      seeds.push({ bytes: concatenate([...head, plain]), fields });
      blobs.push(blob);
    }
  }
  return { blobs, seeds };
}

function opened({ cipher }: BlobDescriptor, part: Uint8Array): Uint8Array {
  return cipher === undefined ? part : decryptXts(cipher, part);
}

/** Splits an input of {@link blobMetaCorpus}; undefined if it is shorter than its head. */
export function splitMetaInput(
  { blobs }: BlobMetaCorpus,
  input: Uint8Array,
): { blob: BlobDescriptor; header: Uint8Array; ci: Uint8Array } | undefined {
  const blob = blobs[(input[0] ?? 0) % blobs.length];
  if (input.length < INPUT_HEAD || blob === undefined) return undefined;
  const header = new Uint8Array(CI_HEADER.SIZE);
  header.set(input.subarray(1, 1 + HEAD_BYTES));
  header.set(input.subarray(1 + HEAD_BYTES, INPUT_HEAD), CI_HEADER.magic2);
  return { blob, header, ci: input.subarray(INPUT_HEAD) };
}

/** Small blobs that contain a bootstrap, with and without a table of contents. */
export function tailSeeds(): Seed[] {
  const bootstrap = new Uint8Array(700).map((_, i) => 0x30 + i % 7);
  const packed = new Uint8Array(zstdCompressSync(bootstrap));
  const digest = new Uint8Array(createHash("sha256").update(bootstrap).digest());
  const section = (name: string, bytes: Uint8Array) =>
    concatenate([bytes, rawHeader({ name, size: bytes.length.toString(8).padStart(11, "0"), magic: "ustar  \0" })]);
  const entry = (flags: number, name: string, offset: number, size: number) => {
    const bytes = new Uint8Array(TOC_ENTRY);
    const view = new DataView(bytes.buffer);
    view.setUint32(TOC.flags, flags, true);
    bytes.set(new TextEncoder().encode(name), TOC.name);
    bytes.set(digest, TOC.digest);
    for (const [at, value] of [[TOC.offset, offset], [TOC.size, size], [TOC.uncompressedSize, bootstrap.length]]) {
      writeU64(view, at as number, value as number);
    }
    return bytes;
  };
  const data = section(SECTION.blob, new Uint8Array(64).fill(1));
  return ([[TOC_FLAG.none, bootstrap], [TOC_FLAG.zstd, packed], [0, bootstrap]] as const).map(([flags, stored]) => {
    const before = concatenate([data, section(SECTION.bootstrap, stored)]);
    if (flags === 0) return { bytes: before };
    const toc = concatenate([
      entry(TOC_FLAG.none, SECTION.blob, 0, 64),
      entry(flags, SECTION.bootstrap, data.length, stored.length),
    ]);
    const bytes = concatenate([before, section(SECTION.toc, toc)]);
    const fields: Field[] = [];
    for (let at = before.length; at + 4 <= bytes.length; at += 4) fields.push({ at, size: 4 });
    return { bytes, fields };
  });
}

/** Corrects the checksums of the last trailers as far as they can be found. */
export function repairTrailers(bytes: Uint8Array<ArrayBuffer>): void {
  for (let at = bytes.length - TAR_HEADER, count = 0; at >= 0 && count < 4; count++) {
    const header = bytes.subarray(at, at + TAR_HEADER);
    header.set(new TextEncoder().encode(`${tarChecksum(header).toString(8).padStart(6, "0")}\0 `), 148);
    const size = parseInt(String.fromCharCode(...header.subarray(124, 135)), 8);
    if (!Number.isSafeInteger(size)) return;
    at -= size + TAR_HEADER;
  }
}

/** A compressed chunk as an input of a decoder: number of the compressor, claimed size, stored bytes. */
export function chunkSeed(compressor: number, size: number, stored: Uint8Array): Seed {
  const bytes = new Uint8Array(5 + stored.length);
  bytes[0] = compressor;
  new DataView(bytes.buffer).setUint32(1, size, true);
  bytes.set(stored, 5);
  return { bytes, fields: [{ at: 0, size: 1 }, { at: 1, size: 4 }, { at: 1, size: 4 }] };
}

/** Compressors by the number in a {@link chunkSeed}. */
export const CHUNK_COMPRESSORS: readonly Compressor[] = ["none", "lz4_block", "gzip", "zstd"];

async function readBlob(path: string): Promise<Uint8Array | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
