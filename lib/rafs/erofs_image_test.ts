import fc from "fast-check";
import assert from "node:assert/strict";
import { contradictoryBootstrap } from "../../tests/support/contradictory_image.ts";
import { overlappingBootstrap } from "../../tests/support/overlapping_image.ts";
import { listBootstrap, listRafsFixtures, readFixtureBootstrap } from "../../tests/support/rafs_fixtures.ts";
import { type Bootstrap, RafsError } from "./bootstrap.ts";
import { devicesOf, makeErofsImage } from "./erofs_image.ts";
import { openBootstrap } from "./open.ts";

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

Deno.test("copying and walking the tree yield the same image or the same error", async () => {
  for (const fixture of listRafsFixtures().filter(({ name }) => name.startsWith("v6"))) {
    const intact = await readFixtureBootstrap(fixture);
    if (!("copyTree" in openBootstrap(intact, { treeOnly: true }))) continue;
    fc.assert(
      fc.property(damage(intact.length), (changes) => {
        const bytes = intact.slice();
        for (const [at, value] of changes) bytes[at] = value;
        assert.deepEqual(imageOf(bytes, (tree) => tree), imageOf(bytes, walked), fixture.name);
      }),
      { numRuns: 40 },
    );
  }
});

/** A few changed bytes, possibly none. */
function damage(length: number): fc.Arbitrary<[number, number][]> {
  return fc.array(fc.tuple(fc.nat(length - 1), fc.nat(255)), { maxLength: 4 });
}

/** The image, or "refused" if the bootstrap is refused. */
function imageOf(bytes: Uint8Array, way: (tree: Bootstrap) => Bootstrap): Uint8Array | "refused" {
  try {
    return makeErofsImage(way(openBootstrap(bytes, { treeOnly: true }))).bytes;
  } catch (error) {
    if (error instanceof RafsError) return "refused";
    throw error;
  }
}

/** The bootstrap without `copyTree`, so that it is walked. */
function walked(tree: Bootstrap): Bootstrap {
  return new Proxy(tree, {
    get(target, key) {
      if (key === "copyTree") return undefined;
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
