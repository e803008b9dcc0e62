import fc from "fast-check";
import assert from "node:assert/strict";
import { contradictoryBootstrap } from "../../../tests/support/damage/contradictory_image.ts";
import { overlappingBootstrap } from "../../../tests/support/damage/overlapping_image.ts";
import { listBootstrap, listRafsFixtures, readFixtureBootstrap } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { equalBytes } from "../../base/bytes.ts";
import { type Bootstrap, RafsError } from "../bootstrap.ts";
import { EROFS_SUPER_OFFSET } from "../format/detect.ts";
import { DEVICE_BLOCK } from "./device_table.ts";
import { devicesOf, makeErofsImage } from "./erofs_image.ts";
import { IMAGE_FLAG } from "../format/flags.ts";
import { S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { openBootstrap } from "../open.ts";
import { COMPACT, DIRENT, EXT_SUPER, EXTENDED, INODE_SLOT, SUPER } from "../v6/layout.ts";
import { walkTree } from "../walk.ts";

Deno.test("the image for the kernel shows the tree of the bootstrap, v5 and v6", async () => {
  for (const fixture of listRafsFixtures().filter(({ blobsAbsent }) => !blobsAbsent)) {
    const tree = openBootstrap(await readFixtureBootstrap(fixture), { treeOnly: true });
    if (tree.blobs.some(({ meta }) => meta === undefined) && tree.version === 6) continue; // other block size
    const { bytes } = makeErofsImage(tree);
    assert.deepEqual(await listBootstrap(openBootstrap(bytes)), await listBootstrap(tree), fixture.name);
  }
});

Deno.test("the same bootstrap yields the same image and devices", async () => {
  for (const name of ["v5-lz4-sha256-64k", "v6-layers-merged"]) {
    const fixture = listRafsFixtures().find((one) => one.name === name) ?? assert.fail(name);
    const { bytes, devices } = makeErofsImage(openBootstrap(await readFixtureBootstrap(fixture)));
    assert.deepEqual(makeErofsImage(openBootstrap(await readFixtureBootstrap(fixture))).bytes, bytes);
    assert.deepEqual(devicesOf(openBootstrap(await readFixtureBootstrap(fixture))), devices);
  }
});

Deno.test("a changed copy of a bootstrap and an image written anew show the same tree, or give the same error", async () => {
  for (const { name, intact } of await plainFixtures()) {
    await fc.assert(
      fc.asyncProperty(damage(intact.length), async (changes) => {
        const bytes = intact.slice();
        for (const [at, value] of changes) bytes[at] = value;
        const copied = await shownBy(bytes, (tree) => tree);
        assert.deepEqual(copied, await shownBy(bytes, written), name);
      }),
      { numRuns: 40 },
    );
  }
});

Deno.test("inodes stay in their places in a changed copy, and the chunk table is not in it", async () => {
  for (const { name, intact } of await plainFixtures()) {
    const tree = openBootstrap(intact, { treeOnly: true });
    const image = openBootstrap(makeErofsImage(tree).bytes);
    assert.deepEqual(nidsOf(image), nidsOf(tree), name);
    assert.equal(image.tables.find((table) => table.name === "chunk table")?.size, 0);
    if (tree.inodeCount > 10) assert.ok(image.byteLength < tree.byteLength, name);
  }
});

Deno.test("what only the kernel interprets does not reach it from the bootstrap", async () => {
  for (const { name, intact } of await plainFixtures()) {
    const tree = openBootstrap(intact, { treeOnly: true });
    const made = makeErofsImage(tree);
    const odd = intact.slice(), view = new DataView(odd.buffer);
    const meta = view.getUint32(EROFS_SUPER_OFFSET + SUPER.metaBlock, true) * DEVICE_BLOCK;
    odd.fill(0xff, EROFS_SUPER_OFFSET + SUPER.uuid, EROFS_SUPER_OFFSET + SUPER.uuid + 32); // with the volume's name
    for (const nid of nidsOf(tree)) {
      const at = meta + nid * INODE_SLOT;
      view.setUint16(at + EXTENDED.mode + 2, 0xffff, true);
      odd.fill(0xff, at + EXTENDED.reserved, at + EXTENDED.SIZE);
      const mode = view.getUint16(at + EXTENDED.mode, true);
      if ((mode & S_IFMT) === S_IFREG) view.setUint32(at + EXTENDED.union, 0xffff_ffff, true);
    }
    assert.deepEqual(makeErofsImage(openBootstrap(odd, { treeOnly: true })), made, name);
  }
});

Deno.test("an image is written anew if the kernel would see anything else in the copy", async () => {
  const { intact } = (await plainFixtures()).find(({ name }) => name === "v6-zstd-toc") ?? assert.fail();
  const tree = openBootstrap(intact);
  const meta = new DataView(intact.buffer).getUint32(EROFS_SUPER_OFFSET + SUPER.metaBlock, true) * DEVICE_BLOCK;
  const nameOf = (text: string) => new TextEncoder().encode(text);
  const file = meta + tree.lookup(tree.lookup(tree.rootIno, nameOf("data")), nameOf("empty")) * INODE_SLOT;
  const changes: [what: string, change: (bytes: Uint8Array, view: DataView) => void][] = [
    ["no bit that says that there are attributes", (_, view) => {
      const at = EXT_SUPER.AT + EXT_SUPER.flags;
      view.setBigUint64(at, view.getBigUint64(at, true) & ~BigInt(IMAGE_FLAG.hasXattr), true);
    }],
    ["a compact inode", (_, view) => {
      view.setUint16(file + EXTENDED.format, view.getUint16(file + EXTENDED.format, true) & ~1, true);
      view.setUint32(file + COMPACT.size, 0, true);
    }],
    ["an entry without a type", (bytes) => {
      const root = meta + tree.rootIno * INODE_SLOT;
      bytes[root + EXTENDED.SIZE + DIRENT.SIZE * 2 + DIRENT.type] = 0;
    }],
  ];
  for (const [what, change] of changes) {
    const bytes = intact.slice();
    change(bytes, new DataView(bytes.buffer));
    const odd = openBootstrap(bytes);
    assert.ok(equalBytes(makeErofsImage(odd).bytes, makeErofsImage(written(odd)).bytes), what);
  }
});

/** Fixtures of v6 whose images are changed copies. */
async function plainFixtures(): Promise<{ readonly name: string; readonly intact: Uint8Array<ArrayBuffer> }[]> {
  const plain = [];
  for (const fixture of listRafsFixtures().filter(({ name }) => name.startsWith("v6") && name !== "v6-tarfs")) {
    const intact = (await readFixtureBootstrap(fixture)).slice();
    plain.push({ name: fixture.name, intact });
  }
  return plain;
}

/** Numbers of all inodes, in ascending order. */
function nidsOf(tree: Bootstrap): number[] {
  return [...new Set([...walkTree(tree)].map(({ ino }) => ino))].sort((a, b) => a - b);
}

/** A few changed bytes, possibly none. */
function damage(length: number): fc.Arbitrary<[number, number][]> {
  return fc.array(fc.tuple(fc.nat(length - 1), fc.nat(255)), { maxLength: 4 });
}

/** The tree that the image shows and its devices, or "refused" if the bootstrap is refused. */
async function shownBy(bytes: Uint8Array, way: (tree: Bootstrap) => Bootstrap): Promise<unknown> {
  try {
    const { bytes: image, devices } = makeErofsImage(way(openBootstrap(bytes, { treeOnly: true })));
    return { tree: await listBootstrap(openBootstrap(image)), devices };
  } catch (error) {
    if (error instanceof RafsError) return "refused";
    throw error;
  }
}

/** The bootstrap without `patchTree`, so that its image is written anew. */
function written(tree: Bootstrap): Bootstrap {
  return new Proxy(tree, {
    get(target, key) {
      if (key === "patchTree") return undefined;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("an image whose files contradict each other about a chunk is refused", () => {
  assert.throws(
    () => makeErofsImage(openBootstrap(contradictoryBootstrap())),
    /Cannot read chunk 5 of blob 0 at 4096: it contradicts chunk 5 of 10 bytes/,
  );
});

Deno.test("an image with overlapping files is refused, as their extents would need quadratic memory", () => {
  const tree = openBootstrap(overlappingBootstrap(20));
  for (const make of [makeErofsImage, devicesOf]) {
    assert.throws(
      () => make(tree),
      (error) => error instanceof RafsError && /its files have more chunks than its size permits$/.test(error.message),
    );
  }
  const one = tree.lookup(tree.rootIno, new TextEncoder().encode("f3"));
  assert.equal(tree.extents(one, 0, Infinity).length, 16_400, "each file alone is readable");
});
