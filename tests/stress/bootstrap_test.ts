/**
 * Fuzzes bootstraps of both versions: opens and walks them, with every call on every inode.
 *
 * @module
 */
import assert from "node:assert/strict";
import { isSeconds } from "../../lib/base/seconds.ts";
import { type Bootstrap, emptyAttr, RafsError } from "../../lib/rafs/bootstrap.ts";
import { chunkColumnsFromRecords } from "../../lib/rafs/blob/chunk_records.ts";
import { LIMIT } from "../../lib/rafs/format/flags.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { walkTree } from "../../lib/rafs/walk.ts";
import { checkBootstrap } from "../support/rafs/check_bootstrap.ts";
import { Mutator } from "../support/fuzz/mutate_bytes.ts";
import { bootstrapSeeds } from "../support/fuzz/rafs_seeds.ts";
import { fuzz } from "../support/fuzz/target.ts";

/** Limit for requested extents in bytes: a corrupt size may be any number. */
const MAX_READ = 1 << 26;
/** Bytes per chunk of the columns in lib/rafs/blob/chunk_table.ts. */
const COLUMN_BYTES = 80;
const IFMT = 0o170000, IFREG = 0o100000, IFDIR = 0o040000, IFLNK = 0o120000;

for (const version of [5, 6] as const) {
  fuzz(import.meta, {
    name: `RAFS v${version} bootstrap`,
    inputs: async () => new Mutator(await bootstrapSeeds(version)),
    open: () => exercise,
    // The chunk table has as many rows as the image states; pages that are never filled cost nothing.
    allocation: (length) => (32 << 20) + 64 * length + LIMIT.chunks * COLUMN_BYTES,
  });
}

/** A {@link RafsError} in one call must not hide the results of others. */
function attempt(use: () => void): boolean {
  try {
    use();
    return true;
  } catch (error) {
    if (error instanceof RafsError) return false;
    throw error;
  }
}

function exercise(bytes: Uint8Array): void {
  const bootstrap = openBootstrap(bytes, { treeOnly: true });
  for (const { id } of bootstrap.blobs) assert.match(id, /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/);
  attempt(() => assert.ok(bootstrap.prefetch.length <= bytes.length / 4));
  for (const blob of bootstrap.blobs) {
    if (bootstrap.version === 5) attempt(() => void chunkColumnsFromRecords(blob, bootstrap.chunkRecords()));
  }
  attempt(() => {
    let records = 0;
    for (const { digest, uncompressedSize } of bootstrap.chunkRecords()) {
      records++;
      assert.ok(digest.length === 32 && uncompressedSize <= bootstrap.chunkSize);
    }
    assert.ok(records <= bytes.length);
  });
  const inodes = new Set<number>([0, 1, bootstrap.rootIno, 2 ** 32, 2 ** 52, -1, NaN]);
  const names: [parent: number, name: Uint8Array, ino: number][] = [];
  const whole = attempt(() => {
    for (const { path, ino, parent } of walkTree(bootstrap)) {
      inodes.add(ino);
      if (path.length > 1) names.push([parent, path.subarray(path.lastIndexOf(0x2f) + 1), ino]);
    }
  });
  for (const [parent, name, ino] of names) {
    assert.ok(name.length >= 1 && name.length <= 255 && !name.includes(0));
    assert.ok(!(name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))));
    // a directory that was listed completely is sorted, so lookup finds every name
    if (whole) assert.equal(bootstrap.lookup(parent, name), ino);
    else attempt(() => void bootstrap.lookup(parent, name));
  }
  for (const ino of inodes) askAll(bootstrap, ino);
  const found = checkBootstrap(bytes, bootstrap);
  assert.ok(whole || found.count > 0, "a tree that cannot be walked has no findings");
  for (const { where, state } of found.kept) assert.doesNotMatch(`${where}${state}`, /\n/);
}

function askAll(bootstrap: Bootstrap, ino: number): void {
  const attr = emptyAttr();
  const known = attempt(() => bootstrap.attr(ino, attr));
  if (known) {
    assert.ok(Number.isSafeInteger(attr.size) && attr.size >= 0 && isSeconds(attr.mtime));
    assert.ok(attr.mtimeNsec < 1e9 && attr.mode <= 0xffff && attr.ino === ino);
  }
  const type = known ? attr.mode & IFMT : 0;
  for (const cookie of [0, 3, 2 ** 53]) {
    const listed = attempt(() => bootstrap.readdir(ino, cookie, () => true));
    assert.ok(!listed || !known || cookie > 2 ** 52 || type === IFDIR);
  }
  attempt(() => {
    const target = bootstrap.readlink(ino);
    assert.ok((!known || type === IFLNK) && target.length >= 1 && target.length <= 4096 && !target.includes(0));
  });
  attempt(() => {
    for (const [name, value] of bootstrap.xattrs(ino)) {
      assert.ok(name.length >= 1 && name.length <= 255 && !name.includes(0) && value.length <= 65536);
    }
  });
  attempt(() => {
    let at = 0;
    for (const extent of bootstrap.extents(ino, 0, MAX_READ)) {
      const { fileOffset, length, chunkLength, chunkOffset, blobOffset, blobIndex } = extent;
      assert.ok((!known || type === IFREG) && fileOffset === at && length >= 1 && blobIndex < bootstrap.blobs.length);
      assert.ok(chunkLength <= bootstrap.chunkSize && blobOffset >= chunkOffset);
      assert.ok(blobOffset + length <= chunkOffset + chunkLength);
      at += length;
    }
    if (known) assert.equal(at, Math.min(attr.size, MAX_READ));
  });
}
