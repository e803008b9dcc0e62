import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import {
  fixtureOf,
  MemoryBlob,
  RAFS_FIXTURES,
  readFixtureBootstrap,
} from "../../../tests/support/rafs/rafs_fixtures.ts";
import { emptyAttr, RafsError } from "../bootstrap.ts";
import { chunkColumnsFromRecords } from "../blob/chunk_records.ts";
import { walkTree } from "../walk.ts";
import { openV5 } from "./bootstrap.ts";
import { EXT_BLOB, INODE, SUPER } from "./layout.ts";

async function fixture(name: string): Promise<Uint8Array> {
  return (await readFixtureBootstrap(fixtureOf(name))).slice();
}

const encode = (text: string) => new TextEncoder().encode(text);
const viewOn = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Offset of the record of inode `index`. */
function recordAt(bytes: Uint8Array, index: number): number {
  const view = viewOn(bytes);
  return view.getUint32(view.getUint32(SUPER.inodeTableOffset, true) + (index - 1) * 4, true) * 8;
}

Deno.test("v5: every listed name is found, and no other", async () => {
  const bootstrap = openV5(await fixture("v5-lz4-sha256-64k"));
  for (const { path, ino, parent } of walkTree(bootstrap)) {
    if (ino === bootstrap.rootIno) continue;
    const name = path.slice(path.lastIndexOf(0x2f) + 1);
    assert.equal(bootstrap.lookup(parent, name), ino);
    assert.equal(bootstrap.lookup(parent, new Uint8Array([...name, 1])), 0);
  }
  assert.equal(bootstrap.lookup(1, new Uint8Array()), 0);
  assert.equal(bootstrap.lookup(1, new Uint8Array(300).fill(0x61)), 0);
});

Deno.test("v5: a listing continues from every cookie", async () => {
  const bootstrap = openV5(await fixture("v5-lz4-sha256-64k"));
  const list = (cookie: number) => {
    const found: { name: string; next: number }[] = [];
    bootstrap.readdir(1, cookie, (name, _ino, _type, next) => found.push({ name: name.toHex(), next }) > 0);
    return found;
  };
  const whole = list(0);
  assert.ok(whole.length > 3);
  whole.forEach(({ next }, i) => assert.deepEqual(list(next), whole.slice(i + 1)));
});

Deno.test("v5: the digest of a file is computed from its chunk digests", async () => {
  const bootstrap = openV5(await fixture("v5-none-sha256-4k"));
  let files = 0;
  for (const { ino, attr } of walkTree(bootstrap)) {
    if ((attr.mode & 0o170000) !== 0o100000) continue;
    const { input, expected } = bootstrap.recordDigest(ino);
    assert.equal(createHash("sha256").update(input).digest("hex"), expected.toHex());
    files++;
  }
  assert.ok(files > 300);
});

Deno.test("v5: an image without an extended blob table is read correctly", async () => {
  const bytes = await fixture("v5-lz4-sha256-64k");
  const full = openV5(bytes.slice());
  viewOn(bytes).setUint32(SUPER.extBlobTableEntries, 0, true);
  const old = openV5(bytes);
  const blob = old.blobs[0] ?? assert.fail();
  assert.deepEqual([blob.chunkCount, blob.compressedSize, blob.uncompressedSize, blob.features], [0, 0, 0, 0]);
  const data = await Deno.readFile(join(RAFS_FIXTURES, "blobs", blob.id));
  const opened = MemoryBlob.open(old, blob, data);
  assert.deepEqual(opened.columns, chunkColumnsFromRecords(full.blobs[0] ?? assert.fail(), full.chunkRecords()));
  assert.ok((await opened.chunk(0)).length > 0);
});

Deno.test("v5: a blob with more chunks than bytes is refused", async () => {
  const bytes = await fixture("v5-odd-root");
  const view = viewOn(bytes);
  const entry = Number(view.getBigUint64(SUPER.extBlobTableOffset, true));
  view.setUint32(entry + EXT_BLOB.chunkCount, 1 << 24, true);
  assert.throws(() => openV5(bytes), {
    name: "RafsError",
    message: `Cannot read RAFS v5 extended blob table entry 0 at ${entry}: 16777216 chunks in 2 bytes, stored in 2`,
  });
});

Deno.test("v5: an image made of the index of an eStargz layer is refused by name", async () => {
  const bytes = await fixture("v5-odd-root");
  const view = viewOn(bytes);
  const entry = Number(view.getBigUint64(SUPER.extBlobTableOffset, true));
  view.setBigUint64(entry + EXT_BLOB.compressedSize, 0n, true);
  assert.throws(
    () => openV5(bytes),
    (error) => error instanceof RafsError && error.code === "unsupported" && /eStargz/.test(error.message),
  );
});

Deno.test("v5: further names of a hard link have the inode of the first", async () => {
  const bootstrap = openV5(await fixture("v5-layers-merged"));
  const attr = emptyAttr();
  for (const { ino, attr: seen } of walkTree(bootstrap)) {
    bootstrap.attr(ino, attr);
    assert.deepEqual(attr, seen);
    assert.equal(attr.ino, ino);
  }
});

Deno.test("v5: children must follow their directory and name it as their parent", async () => {
  const bytes = await fixture("v5-odd-root");
  const damaged = (change: (view: DataView, root: number, child: number) => void) => {
    const copy = bytes.slice();
    change(viewOn(copy), recordAt(copy, 1), recordAt(copy, 2));
    return () => {
      const bootstrap = openV5(copy);
      for (const { ino, attr } of walkTree(bootstrap)) {
        if ((attr.mode & 0o170000) === 0o100000) bootstrap.extents(ino, 0, attr.size);
      }
    };
  };
  assert.throws(
    damaged((view, root) => view.setUint32(root + INODE.childIndex, 1, true)),
    /children 1 to 1 of inode 1/,
  );
  assert.throws(
    damaged((view, root) => view.setUint32(root + INODE.childCount, 9, true)),
    /children 2 to 10 of inode 1/,
  );
  assert.throws(damaged((view, _, child) => view.setUint32(child + INODE.parent, 7, true)), /parent of inode 2 is 7/);
  assert.throws(
    damaged((view, _, child) => view.setUint32(child + INODE.ino, 1, true)),
    /hard link to inode 1 of another/,
  );
  assert.throws(
    damaged((view, _, child) => view.setUint32(child + INODE.size, 1 << 22, true)),
    /need 4 chunks, it has 1/,
  );
  assert.throws(damaged((view, _, child) => view.setUint16(child + INODE.nameSize, 0, true)), /name has 0 bytes/);
});

Deno.test("v5: a chunk that does not cover its part of the file is damage", async () => {
  const bytes = await fixture("v5-odd-root");
  const child = recordAt(bytes, 2);
  const nameSize = viewOn(bytes).getUint16(child + INODE.nameSize, true);
  const chunk = child + INODE.SIZE + Math.ceil(nameSize / 8) * 8;
  const bootstrap = openV5(bytes);
  const ino = bootstrap.lookup(1, bytes.slice(child + INODE.SIZE, child + INODE.SIZE + nameSize));
  assert.equal(bootstrap.extents(ino, 0, 1).length, 1);
  viewOn(bytes).setUint32(chunk + 64, 8, true);
  assert.throws(() => bootstrap.extents(ino, 0, 1), RafsError);
  assert.throws(() => bootstrap.extents(ino, 0, 1), /chunk 0 has \d+ bytes at file offset 8, expected \d+ at 0/);
  viewOn(bytes).setUint32(chunk + 32, 1, true);
  assert.throws(() => bootstrap.extents(ino, 0, 1), /blob index is 1, the image has 1 blobs/);
});

Deno.test("v5: names are looked up in directories only", async () => {
  const bootstrap = openV5(await fixture("v5-odd-root"));
  assert.throws(() => bootstrap.lookup(2, encode("x")), /expected a directory/);
  assert.throws(() => bootstrap.readlink(1), /not a symbolic link/);
  assert.throws(() => bootstrap.extents(1, 0, 1), /not a regular file/);
});
