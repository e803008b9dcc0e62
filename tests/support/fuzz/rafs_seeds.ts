/**
 * Bootstraps as seeds, with the offsets of their numbers.
 *
 * @module
 */
import { CHUNK_INFO } from "../../../lib/rafs/format/chunk_info.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { EXT_BLOB, INODE, SUPER as V5_SUPER, UNIT } from "../../../lib/rafs/v5/layout.ts";
import { BLOB, COMPACT, DEVICE, EXT_SUPER, EXTENDED, INODE_SLOT, SUPER } from "../../../lib/rafs/v6/layout.ts";
import { EROFS_SUPER_OFFSET } from "../../../lib/rafs/format/detect.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import { listRafsFixtures, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import type { Field, Seed } from "./mutate_bytes.ts";

/** Maximum size of a bootstrap used as a seed, bytes: millions of inputs are copies of it. */
const MAX_SEED_BYTES = 48 << 10;
/** Maximum number of inodes whose fields are listed: similar ones add nothing. */
const MAX_INODES = 48;
/** Bytes after an inode that contain numbers: attributes, name offsets, chunk indexes. */
const TAIL_BYTES = 96;

/** The smaller fixtures of one version. */
export async function bootstrapSeeds(version: 5 | 6): Promise<Seed[]> {
  const seeds: Seed[] = [];
  for (const fixture of listRafsFixtures()) {
    if (!fixture.name.startsWith(`v${version}-`)) continue;
    const bytes = await readFixtureBootstrap(fixture);
    if (bytes.length > MAX_SEED_BYTES) continue;
    seeds.push({ bytes, fields: version === 5 ? fieldsOfV5(bytes) : fieldsOfV6(bytes) });
  }
  return seeds;
}

/** The number fields of a structure: all offsets in the table except its size, each up to the next field. */
function numbers(at: number, table: Readonly<Record<string, number>>, size: number): Field[] {
  const offsets = Object.entries(table).filter(([name]) => name === name.toLowerCase() || /^[a-z]/.test(name))
    .map(([, offset]) => offset).sort((a, b) => a - b);
  return offsets.map((offset, i) => {
    const room = (offsets[i + 1] ?? size) - offset;
    return { at: at + offset, size: room >= 8 && offset % 8 === 0 ? 8 : room >= 4 ? 4 : room >= 2 ? 2 : 1 };
  });
}

/** All numbers of `unit` bytes in a range. */
function run(from: number, to: number, unit: 2 | 4 | 8): Field[] {
  return Array.from({ length: Math.max(0, Math.floor((to - from) / unit)) }, (_, i) => ({
    at: from + i * unit,
    size: unit,
  }));
}

function inodesOf(bytes: Uint8Array): number[] {
  const bootstrap = openBootstrap(bytes, { treeOnly: true });
  return [...new Set([...walkTree(bootstrap)].map(({ ino }) => ino))].slice(0, MAX_INODES);
}

function fieldsOfV5(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const table = Number(view.getBigUint64(V5_SUPER.inodeTableOffset, true));
  const fields = numbers(0, V5_SUPER, V5_SUPER.extBlobTableOffset + 8);
  fields.push(...numbers(Number(view.getBigUint64(V5_SUPER.extBlobTableOffset, true)), EXT_BLOB, EXT_BLOB.SIZE));
  for (const ino of inodesOf(bytes)) {
    fields.push({ at: table + (ino - 1) * 4, size: 4 });
    const at = view.getUint32(table + (ino - 1) * 4, true) * UNIT;
    const end = at + INODE.SIZE + view.getUint16(at + INODE.nameSize, true);
    fields.push(...numbers(at, INODE, INODE.SIZE), ...run(end - end % 8 + 8, end + CHUNK_INFO.SIZE, 4));
  }
  return fields.filter(({ at, size }) => at + size <= bytes.length);
}

function fieldsOfV6(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blobs = view.getUint16(EROFS_SUPER_OFFSET + SUPER.extraDevices, true);
  const blobTable = Number(view.getBigUint64(EXT_SUPER.AT + EXT_SUPER.blobTableOffset, true));
  const chunkTable = Number(view.getBigUint64(EXT_SUPER.AT + EXT_SUPER.chunkTableOffset, true));
  const meta = view.getUint32(EROFS_SUPER_OFFSET + SUPER.metaBlock, true) * 2 **
      view.getUint8(EROFS_SUPER_OFFSET + SUPER.blockBits);
  const fields = numbers(EROFS_SUPER_OFFSET, SUPER, SUPER.SIZE);
  fields.push(...numbers(EXT_SUPER.AT, EXT_SUPER, EXT_SUPER.prefetchTableSize + 4));
  for (let i = 0; i < blobs; i++) {
    fields.push(...run(DEVICE.AT + i * DEVICE.SIZE + DEVICE.blocks, DEVICE.AT + (i + 1) * DEVICE.SIZE, 4).slice(0, 2));
    fields.push(...numbers(blobTable + i * BLOB.SIZE, BLOB, BLOB.SIZE));
  }
  fields.push(...numbers(chunkTable, CHUNK_INFO, CHUNK_INFO.SIZE));
  for (const ino of inodesOf(bytes)) {
    const at = meta + ino * INODE_SLOT;
    const extended = (view.getUint16(at, true) & 1) !== 0;
    const size = extended ? EXTENDED.SIZE : COMPACT.SIZE;
    fields.push(...numbers(at, extended ? EXTENDED : COMPACT, size), ...run(at + size, at + size + TAIL_BYTES, 2));
    // a directory with whole blocks has its names there
    if ((view.getUint16(at + COMPACT.mode, true) & 0o170000) === 0o040000) {
      const block = view.getUint32(at + COMPACT.union, true) * 4096;
      if (block > 0 && block < bytes.length) fields.push(...run(block, block + TAIL_BYTES, 2));
    }
  }
  return fields.filter(({ at, size }) => at + size <= bytes.length);
}
