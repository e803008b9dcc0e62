/**
 * Kinds of damage to blobs: chunk data, compression info, and the data around them.
 *
 * @module
 */
import { CI_HEADER } from "../../../lib/rafs/blob/blob_meta.ts";
import { CI } from "../../../lib/rafs/blob/blob_layout.ts";
import { BLOB } from "../../../lib/rafs/v6/layout.ts";
import { type Damage, type Fallout, type FixtureCopy, Patch, type Spoiled } from "./damage.ts";
import { decompress } from "../rafs/rafs_fixtures.ts";
import { V6Places } from "./damage_v6_places.ts";

const EVERYTHING = Number.POSITIVE_INFINITY;

/** End of the stored chunks of a blob. */
function dataEnd(copy: FixtureCopy, index: number): number {
  const { compressedOffset, compressedSize, count } = copy.columns(index);
  let end = 0;
  for (let i = 0; i < count; i++) {
    end = Math.max(end, (compressedOffset[i] as number) + (compressedSize[i] as number));
  }
  return end;
}

/** Changes `length` bytes of a blob at `at`. */
function spoil(
  copy: FixtureCopy,
  index: number,
  at: number,
  length: number,
  change: (old: number, i: number) => number,
) {
  const bytes = copy.blob(index);
  for (let i = at; i < at + length; i++) bytes[i] = change(bytes[i] as number, i);
  return [{ blob: copy.id(index), from: at, to: at + length }];
}

/** The whole blob is unreadable. */
export const lost = (
  copy: FixtureCopy,
  index: number,
): Spoiled[] => [{ blob: copy.id(index), from: 0, to: EVERYTHING }];

/** Truncates a blob; without its compression info nothing of it can be read. */
function cut(copy: FixtureCopy, index: number, length: number): Spoiled[] {
  copy.setBlob(index, copy.blob(index).slice(0, length));
  const { meta } = copy.descriptor(index);
  if (meta !== undefined && length < meta.offset + meta.compressedSize + CI.HEADER_SIZE) return lost(copy, index);
  return [{ blob: copy.id(index), from: length, to: EVERYTHING }];
}

function swapEqualChunks(copy: FixtureCopy, index: number): Spoiled[] {
  const { compressedOffset, compressedSize, count } = copy.columns(index);
  const seen = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const size = compressedSize[i] as number, at = compressedOffset[i] as number;
    const other = seen.get(size);
    if (size > 0 && other !== undefined && other + size <= at) {
      new Patch(copy.blob(index)).swap(other, at, size);
      return [other, at].map((from) => ({ blob: copy.id(index), from, to: from + size }));
    }
    seen.set(size, at);
  }
  throw new Error(`Cannot damage ${copy.fixture.name}: no two chunks have one size`);
}

/** A pattern that occurs in no fixture. */
const noise = (i: number) => (Math.imul(i + 1, 2654435761) >>> 13) & 0xff;

export type Kind = readonly [name: string, apply: (copy: FixtureCopy, index: number) => Fallout];

/** Damage to the bytes of chunks. */
export const DATA: readonly Kind[] = [
  ["bit flipped in the first byte", (copy, i) => spoil(copy, i, 0, 1, (old) => old ^ 1)],
  ["bit flipped in the middle", (copy, i) => spoil(copy, i, dataEnd(copy, i) >> 1, 1, (old) => old ^ 0x40)],
  ["bit flipped in the last byte", (copy, i) => spoil(copy, i, dataEnd(copy, i) - 1, 1, (old) => old ^ 0x80)],
  ["512 zeros in the middle", (copy, i) => spoil(copy, i, dataEnd(copy, i) >> 1, 512, () => 0)],
  ["noise in the second half", (copy, i) => {
    const at = dataEnd(copy, i) >> 1;
    return spoil(copy, i, at, dataEnd(copy, i) - at, (_, k) => noise(k));
  }],
  ["cut to half of its data", (copy, i) => cut(copy, i, dataEnd(copy, i) >> 1)],
  ["cut in its last data byte", (copy, i) => cut(copy, i, dataEnd(copy, i) - 1)],
  ["cut by one byte", (copy, i) => cut(copy, i, copy.blob(i).length - 1)],
  ["cut to one byte", (copy, i) => cut(copy, i, 1)],
  ["emptied", (copy, i) => cut(copy, i, 0)],
  ["missing", (copy, i) => {
    copy.blobs.delete(copy.id(i));
    return lost(copy, i);
  }],
  ["a directory", (copy, i) => {
    copy.blobs.set(copy.id(i), "directory");
    return lost(copy, i);
  }],
  ["shifted by one byte", (copy, i) => {
    const old = copy.blob(i);
    const shifted = new Uint8Array(old.length + 1);
    shifted.set(old, 1);
    copy.setBlob(i, shifted);
    return lost(copy, i);
  }],
  ["without its first byte", (copy, i) => {
    copy.setBlob(i, copy.blob(i).slice(1));
    return lost(copy, i);
  }],
  ["noise of its size", (copy, i) => {
    copy.setBlob(i, copy.blob(i).map((_, k) => noise(k)));
    return lost(copy, i);
  }],
  ["zeros of its size", (copy, i) => {
    copy.blob(i).fill(0);
    return lost(copy, i);
  }],
  ["longer by 5000 bytes", (copy, i) => {
    const old = copy.blob(i);
    const longer = new Uint8Array(old.length + 5000);
    longer.set(old);
    copy.setBlob(i, longer);
    return [];
  }],
];

const replaced: Kind = ["replaced by another blob of the image", (copy, i) => {
  copy.setBlob(i, copy.blob(i + 1).slice());
  return lost(copy, i);
}];

const swapped: Kind = ["two chunks of one stored size exchanged", swapEqualChunks];

/** An uncompressed compression info, for modification. */
interface PlainCi {
  readonly patch: Patch;
  /** Offsets of entries, contexts and header in the blob. */
  readonly entries: number;
  readonly contexts: number;
  readonly header: number;
  readonly table: number;
}

/** Replaces the compression info of blob `index` by an uncompressed one, and adjusts bootstrap and header. */
function plainCi(copy: FixtureCopy, index: number): PlainCi {
  const { meta, compressedSize, chunkCount } = copy.descriptor(index);
  if (meta === undefined) throw new Error("Cannot damage the compression info: there is none");
  const old = copy.blob(index);
  const end = meta.offset + meta.compressedSize;
  const plain = decompress(meta.compressor, old.subarray(meta.offset, end), meta.uncompressedSize);
  const growth = plain.length - meta.compressedSize;
  const bytes = new Uint8Array(old.length + growth);
  bytes.set(old.subarray(0, meta.offset));
  bytes.set(plain, meta.offset);
  bytes.set(old.subarray(end), meta.offset + plain.length);
  copy.setBlob(index, bytes);
  const patch = new Patch(bytes);
  const header = meta.offset + plain.length;
  patch.u32(header + CI_HEADER.compressor, 0);
  patch.u64(header + CI_HEADER.compressedSize, plain.length);
  const table = new V6Places(copy).blob(index);
  copy.bootstrap.u32(table + BLOB.ciCompressor, 0);
  copy.bootstrap.u64(table + BLOB.ciCompressedSize, plain.length);
  copy.bootstrap.u64(table + BLOB.compressedSize, compressedSize + growth);
  return { patch, entries: meta.offset, contexts: meta.offset + 24 * chunkCount, header, table };
}

type CiKind = readonly [name: string, damage: (ci: PlainCi, copy: FixtureCopy) => void, fallout?: Fallout];

/**
 * 1: entries of 16 bytes, uncompressed offset in bits 12 to 43 of the first word.
 */
const V1: readonly CiKind[] = [
  ["stored uncompressed, otherwise right", () => {}, []],
  ["plain offset of chunk 0 moved by a block", ({ patch, entries }) => patch.u8(entries + 1, 0x10)],
  ["plain offset of chunk 1 made that of chunk 0", ({ patch, entries }) => patch.u32(entries + 16, 0)],
  ["plain offset of chunk 1 moved far up", ({ patch, entries }) => patch.u8(entries + 20, 0xff)],
  [
    "plain size of chunk 0 smaller by one",
    ({ patch, entries }) => patch.u8(entries + 5, patch.getU8(entries + 5) - 16),
  ],
  [
    "plain size of chunk 1 larger by one",
    ({ patch, entries }) => patch.u8(entries + 21, patch.getU8(entries + 21) + 16),
  ],
  ["plain size of chunk 0 larger than any", ({ patch, entries }) => patch.u16(entries + 6, 0xffff)],
  [
    "stored offset of chunk 1 moved by one",
    ({ patch, entries }) => patch.u8(entries + 24, patch.getU8(entries + 24) + 1),
  ],
  ["stored offset of chunk 1 made that of chunk 0", ({ patch, entries }) => patch.u32(entries + 24, 0)],
  ["stored offset of chunk 1 beyond the blob", ({ patch, entries }) => patch.u8(entries + 28, 0x7f)],
  [
    "stored size of chunk 0 smaller by one",
    ({ patch, entries }) => patch.u8(entries + 13, patch.getU8(entries + 13) - 16),
  ],
  ["stored size of chunk 0 beyond the blob", ({ patch, entries }) => patch.u16(entries + 14, 0xffff)],
  ["first two entries exchanged", ({ patch, entries }) => patch.swap(entries, entries + 16, 16)],
  ["stored places of two entries exchanged", ({ patch, entries }) => patch.swap(entries + 8, entries + 24, 8)],
  ["one entry twice", ({ patch, entries }) => patch.bytes.copyWithin(entries + 16, entries, entries + 16)],
  ["all entries zero", ({ patch, entries, header }) => void patch.bytes.fill(0, entries, header)],
  ["all entries ones", ({ patch, entries, header }) => void patch.bytes.fill(0xff, entries, header)],
  ["first magic word", ({ patch, header }) => patch.flip(header + CI_HEADER.magic)],
  ["second magic word", ({ patch, header }) => patch.flip(header + CI_HEADER.magic2)],
  ["number of entries less", ({ patch, header }) => patch.u32(header + CI_HEADER.entries, 1)],
  ["number of entries huge", ({ patch, header }) => patch.u32(header + CI_HEADER.entries, 0xffffffff)],
  ["compressor of the header another", ({ patch, header }) => patch.u32(header + CI_HEADER.compressor, 3)],
  ["offset of the header another", ({ patch, header }) => patch.flip(header + CI_HEADER.offset)],
  [
    "compressed size of the header huge",
    ({ patch, header }) => patch.u64(header + CI_HEADER.compressedSize, 1n << 63n),
  ],
  ["plain size of the header another", ({ patch, header }) => patch.flip(header + CI_HEADER.uncompressedSize)],
  ["features of the header: V2", ({ patch, header }) => patch.u32(header + CI_HEADER.features, 5)],
  ["zeros in place of the header", ({ patch, header }) => void patch.bytes.fill(0, header, header + CI.HEADER_SIZE)],
];

/**
 * 2 with batches: entries of 24 bytes, flags in the eighth byte, batch in the upper half of the last word.
 */
function memberOf({ patch, entries, contexts }: PlainCi): number {
  for (let at = entries; at < contexts; at += 24) if ((patch.getU8(at + 7) & 4) !== 0) return at;
  throw new Error("Cannot damage a batch: there is none");
}

function loneOf({ patch, entries, contexts }: PlainCi): number {
  for (let at = entries; at < contexts; at += 24) if ((patch.getU8(at + 7) & 5) === 1) return at;
  throw new Error("Cannot damage a chunk: all are in batches");
}

const V2: readonly CiKind[] = [
  ["compressed flag cleared", (ci) => ci.patch.u8(loneOf(ci) + 7, 0x10)],
  ["batch flag cleared", (ci) => ci.patch.u8(memberOf(ci) + 7, 1)],
  ["batch flag set", (ci) => ci.patch.u8(loneOf(ci) + 7, 5)],
  ["encrypted flag set", (ci) => ci.patch.u8(loneOf(ci) + 7, 9)],
  ["ZRAN flag set", (ci) => ci.patch.u8(loneOf(ci) + 7, 3)],
  ["unknown flags set", (ci) => ci.patch.u8(loneOf(ci) + 7, 0xe1)],
  ["CRC another", (ci) => ci.patch.flip(loneOf(ci) + 16)],
  ["batch number beyond the contexts", (ci) => ci.patch.u32(memberOf(ci) + 20, 0xffff)],
  ["batch number another", (ci) => ci.patch.u32(memberOf(ci) + 20, 1)],
  ["offset in the batch moved by one", (ci) => ci.patch.u32(memberOf(ci) + 16, ci.patch.getU32(memberOf(ci) + 16) + 1)],
  ["offset in the batch beyond it", (ci) => ci.patch.u32(memberOf(ci) + 16, 0xffff_ff00)],
  ["stored size of a context 0", (ci) => ci.patch.u32(ci.contexts, 0)],
  ["stored size of a context huge", (ci) => ci.patch.u32(ci.contexts, 0xffffffff)],
  ["plain size of a context huge", (ci) => ci.patch.u32(ci.contexts + 4, 0xffffffff)],
  ["plain size of a context less", (ci) => ci.patch.u32(ci.contexts + 4, ci.patch.getU32(ci.contexts + 4) - 1)],
  ["contexts exchanged", (ci) => ci.patch.swap(ci.contexts, ci.contexts + 40, 40)],
  ["number of contexts 0", (ci) => ci.patch.u32(ci.header + CI_HEADER.contextCount, 0)],
  ["number of contexts huge", (ci) => ci.patch.u32(ci.header + CI_HEADER.contextCount, 0xffffffff)],
  ["offset of contexts another", (ci) => ci.patch.flip(ci.header + CI_HEADER.contextOffset)],
];

/** Bit flips in a compressed compression info. */
const STORED: readonly Kind[] = [0, 0.5, 0.99].map((part): Kind => [
  `bit flipped at ${part * 100} % of its compressed bytes`,
  (copy, index) => {
    const { offset, compressedSize } = copy.descriptor(index).meta ?? { offset: 0, compressedSize: 0 };
    new Patch(copy.blob(index)).flip(offset + Math.floor(part * compressedSize));
    return "any";
  },
]);

/** Blobs that carry their bootstrap: bit flips in the tail, which locates the bootstrap. */
const TAIL: readonly Kind[] = [
  ...[1, 300, 511, 700, 1200, 2000].map((back): Kind => [`bit flipped ${back} bytes before the end`, (copy, index) => {
    const bytes = copy.blob(index);
    new Patch(bytes).flip(bytes.length - back);
    return "any";
  }]),
  ...[1, 512, 1536, 4096].map((less): Kind => [`cut by ${less} bytes`, (copy, index) => {
    copy.setBlob(index, copy.blob(index).slice(0, -less));
    return "any";
  }]),
];

/** Applies each kind of damage to a blob of each image. */
export function each(what: string, images: readonly string[], kinds: readonly Kind[]): Damage[] {
  return images.flatMap((fixture) =>
    kinds.map(([name, apply]) => ({
      name: `${what}: ${name}`,
      fixture,
      apply: (copy: FixtureCopy) => apply(copy, 0),
    }))
  );
}

function eachCi(images: readonly string[], kinds: readonly CiKind[]): Damage[] {
  const plain = kinds.map(([name, damage, fallout = "any"]): Kind => [name, (copy, index) => {
    damage(plainCi(copy, index), copy);
    return fallout;
  }]);
  return each("compression info", images, plain);
}

/** Damage to the bytes of chunks, and to whole blobs. */
export const CHUNK_DATA: readonly Damage[] = [
  ...each("blob", ["v5-layers-merged", "v6-layers-merged", "v6-blob-id", "v5-repeatable", "v6-lz4-toc-sha256"], DATA),
  ...each("blob", ["v5-none-sha256-4k", "v6-none-sha256-4k"], [...DATA.slice(0, 5), swapped]),
  ...each("blob", ["v6-zstd-batch", "v6-zstd-chunk16m", "v6-chunkdict-user", "v5-chunkdict-user"], DATA.slice(1, 6)),
  ...each("blob", ["v5-layers-merged", "v6-layers-merged"], [replaced]),
  ...each("blob", ["v5-inline", "v6-inline", "v6-inline-toc"], DATA.slice(0, 5)),
];

/** Damage to the compression info of v6 blobs, and to the tail that locates an inlined bootstrap. */
export const COMPRESSION_INFO: readonly Damage[] = [
  ...eachCi(["v6-layers-merged"], V1),
  ...eachCi(["v6-zstd-batch"], V2),
  ...each("compression info", ["v6-layers-merged", "v6-lz4-toc-sha256"], STORED),
  ...each("blob with bootstrap", ["v5-inline", "v6-inline", "v6-inline-toc"], TAIL),
];
