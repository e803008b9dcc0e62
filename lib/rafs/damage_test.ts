/**
 * Calls on damaged bootstraps throw a RafsError or return an answer: no other exception, no hang, no huge allocation.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { listRafsFixtures, readFixtureBootstrap, SMALL_FIXTURES } from "../../tests/support/rafs/rafs_fixtures.ts";
import { type Bootstrap, emptyAttr, RafsError } from "./bootstrap.ts";
import { chunkColumnsFromRecords } from "./blob/chunk_records.ts";
import { openBootstrap } from "./open.ts";
import { BLOB, EXT_SUPER } from "./v6/layout.ts";
import { walkTree } from "./walk.ts";

const images = await Promise.all(
  listRafsFixtures().filter(({ name }) => SMALL_FIXTURES.includes(name)).map(async (fixture) => ({
    name: fixture.name,
    bytes: await readFixtureBootstrap(fixture),
  })),
);
/** Images by index, so that a counterexample does not print a whole image. */
const image = fc.nat({ max: images.length - 1 });
const imageAt = (index: number) => images[index] ?? assert.fail();

/** Runs `use` and returns whether it ended without a RafsError. Other exceptions pass through. */
function survives(use: () => void): boolean {
  try {
    use();
    return true;
  } catch (error) {
    if (!(error instanceof RafsError)) throw error;
    assert.match(error.message, /^Cannot read .+ at \d+: [^\n]+[^.]$|^Cannot read .+: .+ not supported$|are unknown$/);
    return false;
  }
}

/** Calls every method of a bootstrap separately, so that one failure does not hide another. */
function exercise(bytes: Uint8Array): void {
  let bootstrap: Bootstrap | undefined;
  survives(() => bootstrap = openBootstrap(bytes, { treeOnly: true }));
  const opened = bootstrap;
  if (opened === undefined) return;
  survives(() => opened.prefetch);
  survives(() => {
    for (const _ of opened.chunkRecords());
  });
  for (const blob of opened.blobs) {
    if (opened.version === 5) survives(() => chunkColumnsFromRecords(blob, opened.chunkRecords()));
  }
  const attr = emptyAttr();
  const inos = new Set<number>([0, 1, opened.rootIno, 2 ** 32, 2 ** 52, 1.5, -1, NaN]);
  survives(() => {
    for (const { path, ino, parent } of walkTree(opened)) {
      inos.add(ino);
      if (ino !== opened.rootIno) opened.lookup(parent, path.subarray(path.lastIndexOf(0x2f) + 1));
    }
  });
  for (const ino of inos) {
    survives(() => opened.attr(ino, attr));
    survives(() => opened.readdir(ino, 0, () => true));
    for (const cookie of [1, 513, 2 ** 31, 2 ** 53, -1]) survives(() => opened.readdir(ino, cookie, () => true));
    survives(() => opened.lookup(ino, Uint8Array.of(0x2e, 0x2e)));
    survives(() => opened.lookup(ino, Uint8Array.of(0x6d)));
    survives(() => opened.readlink(ino));
    survives(() => [...opened.xattrs(ino)]);
    survives(() => opened.extents(ino, 0, 1 << 24));
  }
}

const runs = (numRuns: number) => ({ numRuns });

Deno.test("arbitrary bytes are not a bootstrap", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => assert.ok(!survives(() => openBootstrap(bytes)))),
  );
});

Deno.test("flipped bytes of a bootstrap yield an error or a result", () => {
  const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(image, flips, (index, changes) => {
      const copy = imageAt(index).bytes.slice();
      for (const [at, mask] of changes) copy[at % copy.length] = (copy[at % copy.length] as number) ^ mask;
      exercise(copy);
    }),
    runs(500),
  );
});

Deno.test("flipped bytes in the structures yield an error or a result", () => {
  // Most of a small bootstrap is padding: flip only bytes that are not zero.
  const spots = new Map(images.map(({ name, bytes }) => [name, [...bytes.keys()].filter((at) => bytes[at] !== 0)]));
  const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(image, flips, (index, changes) => {
      const { name, bytes } = imageAt(index);
      const copy = bytes.slice();
      const places = spots.get(name) ?? [];
      for (const [nth, mask] of changes) {
        const at = places[nth % places.length] ?? 0;
        copy[at] = (copy[at] as number) ^ mask;
      }
      exercise(copy);
    }),
    runs(1000),
  );
});

Deno.test("extreme numbers yield an error or a result", () => {
  const extreme = fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff, 8192, 4096);
  fc.assert(
    fc.property(image, fc.array(fc.tuple(fc.nat(), extreme), { minLength: 1, maxLength: 4 }), (index, changes) => {
      const copy = imageAt(index).bytes.slice();
      const view = new DataView(copy.buffer);
      // Tables and inodes lie in the first half of these images.
      for (const [at, value] of changes) view.setUint32((at % (copy.length / 8)) * 4, value, true);
      exercise(copy);
    }),
    runs(1000),
  );
});

Deno.test("truncated bootstraps yield an error or a result", () => {
  fc.assert(
    fc.property(image, fc.nat(), fc.boolean(), (index, at, whole) => {
      const { bytes } = imageAt(index);
      const end = at % bytes.length;
      exercise(bytes.slice(0, whole ? end - end % 4096 : end));
    }),
    runs(300),
  );
});

Deno.test("spliced bootstraps yield an error or a result", () => {
  fc.assert(
    fc.property(image, image, fc.nat(), fc.nat(), fc.nat(), (into, other, to, at, size) => {
      const copy = imageAt(into).bytes.slice();
      const from = imageAt(other);
      const start = (at % from.bytes.length) & ~7;
      const piece = from.bytes.subarray(start, start + size % 8192);
      const target = (to % copy.length) & ~7;
      copy.set(piece.subarray(0, copy.length - target), target);
      exercise(copy);
    }),
    runs(500),
  );
});

Deno.test("reading does not modify the image", () => {
  for (const { bytes } of images) {
    const copy = bytes.slice();
    exercise(copy);
    assert.deepEqual(copy, bytes);
  }
});

Deno.test("oversized compression info is refused, however small it is stored", () => {
  const claim = (size: number) => {
    const copy = (images.find(({ name }) => name === "v6-zran")?.bytes ?? assert.fail()).slice();
    const view = new DataView(copy.buffer);
    const at = Number(view.getBigUint64(EXT_SUPER.AT + EXT_SUPER.blobTableOffset, true));
    view.setUint32(at + BLOB.chunkCount, 1 << 20, true);
    for (const field of [BLOB.compressedSize, BLOB.uncompressedSize]) view.setBigUint64(at + field, 1n << 36n, true);
    view.setBigUint64(at + BLOB.ciUncompressedSize, BigInt(size), true);
    return () => openBootstrap(copy);
  };
  claim(2 ** 29)();
  assert.throws(claim(2 ** 29 + 1), {
    code: "unsupported",
    message: /compression info of 536870913 bytes is not supp/,
  });
});

Deno.test("messages name the structure and its offset", () => {
  const base = images.find(({ name }) => name === "v6-odd-root")?.bytes ?? new Uint8Array();
  const broken = (at: number, ...values: number[]) => {
    const copy = base.slice();
    copy.set(values, at);
    return () => openBootstrap(copy);
  };
  const message = (text: string, code = "invalid-image") => ({ name: "RafsError", code, message: text });
  assert.throws(
    broken(1024, 0x0d, 0xf0, 0xad, 0x0b),
    message("Cannot read RAFS super block at 1024: magic is 0x0badf00d, expected 0xe0f5e1e2"),
  );
  assert.throws(
    broken(1024 + 80, 0x10),
    message("Cannot read RAFS v6 super block at 1104: incompatible features is 0x00000010, expected 0x0000000c"),
  );
  assert.throws(
    broken(1152 + 1, 0x10),
    message("Cannot read RAFS v6 extended super block at 1152: flags 0x00001000 are unknown", "unsupported"),
  );
  assert.throws(
    broken(1152 + 24, 0x00, 0x10),
    message("Cannot read chunk table at 4096: it overlaps the blob table that ends at 4352"),
  );
  assert.throws(
    broken(4096, 0x2e, 0x2e, 0x2f),
    /Cannot read RAFS v6 blob 0 at 4096: blob id "\.\.\/.+" is not a plain name of 1 to 128 characters/,
  );
  assert.throws(
    () => openBootstrap(base.subarray(0, base.length - 8)),
    message(`Cannot read RAFS v6 super block at 1024: image has ${base.length - 8} bytes, expected a multiple of 4096`),
  );
});
