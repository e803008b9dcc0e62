import assert from "node:assert/strict";
import { basename } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import {
  fixtureOf,
  listRafsFixtures,
  RAFS_FIXTURES,
  readFixtureBootstrap,
} from "../../../tests/support/rafs/rafs_fixtures.ts";
import { dir, file, symlink, tarOf, type TestEntry, whiteout } from "../../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { concatenate } from "../../base/bytes.ts";
import { hasCode } from "../../base/errors.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { TAR_HEADER } from "../../rafs/blob/toc.ts";
import { findBootstrap } from "./find_bootstrap.ts";

const fixtures = listRafsFixtures();
const BOOTSTRAP = await readFixtureBootstrap(fixtureOf("v6-none-sha256-4k"));

/** Runs the search on a file with these bytes and returns the result. */
async function find(bytes: Uint8Array, name = "source"): Promise<{ found: Uint8Array; container: string | undefined }> {
  using temp = TempDir.make();
  await Deno.writeFile(temp.join(name), bytes);
  const { path, container } = await findBootstrap(temp.join(name), temp.join("image.boot"), `layer ${name}`);
  assert.deepEqual(
    [...Deno.readDirSync(temp.path)].map((entry) => entry.name).sort(),
    [
      ...(path === temp.join(name) ? [] : ["image.boot"]),
      name,
    ].sort(),
  );
  return { found: await Deno.readFile(path), container };
}

Deno.test("a bootstrap file of either version is used in place", async () => {
  using temp = TempDir.make();
  for (const name of ["v5-none-sha256-4k", "v6-none-sha256-4k"]) {
    const path = fixtureOf(name).bootstrap;
    assert.deepEqual(await findBootstrap(path, temp.join("none"), path), { path, container: undefined });
  }
  assert.deepEqual([...Deno.readDirSync(temp.path)], []);
});

Deno.test("a file named after a blob tells which blob contains it", async () => {
  const id = "0f".repeat(32);
  const inlined = await readFixtureBootstrap(fixtureOf("v6-inline"));
  assert.equal((await find(inlined, id)).container, id);
  assert.equal((await find(BOOTSTRAP, `${id}.image.boot`)).container, id);
  assert.equal((await find(BOOTSTRAP, `${id}0`)).container, undefined);
});

Deno.test("a bootstrap whose file has its own digest as its name is not in a blob", async () => {
  assert.equal((await find(BOOTSTRAP, "0f".repeat(32))).container, undefined);
});

for (const each of fixtures.filter(({ container }) => container !== undefined)) {
  Deno.test(`the bootstrap inside the data blob of ${each.name} is extracted`, async () => {
    const { found, container } = await find(await Deno.readFile(each.bootstrap), basename(each.bootstrap));
    assert.deepEqual(found, await readFixtureBootstrap(each));
    assert.equal(container, /^[0-9a-f]{64}$/.test(each.container ?? "") ? each.container : undefined);
    openBootstrap(found);
  });
}

Deno.test("a data blob whose first chunk is an archive or a bootstrap is recognised as a data blob", async () => {
  const blob = await Deno.readFile(fixtureOf("v6-inline").bootstrap);
  const expected = await readFixtureBootstrap(fixtureOf("v6-inline"));
  const archive = tarOf(dir("image"), file("image/image.boot", "an archive inside the image"));
  const starts = [archive, new Uint8Array(gzipSync(archive))].map((bytes) => bytes.subarray(0, 600));
  for (const first of [...starts, BOOTSTRAP.subarray(0, 1100)]) {
    const changed = blob.slice();
    changed.set(first);
    assert.deepEqual((await find(changed)).found, expected);
  }
});

Deno.test("the bootstrap of a data blob without data, with which it begins, is extracted", async () => {
  const blob = await Deno.readFile(fixtureOf("v6-inline").bootstrap);
  const expected = await readFixtureBootstrap(fixtureOf("v6-inline"));
  const withoutData = blob.subarray(blob.length - TAR_HEADER - expected.length);
  assert.deepEqual((await find(withoutData)).found, expected);
});

Deno.test("the bootstrap of a layer is extracted from its tar, plain or gzip, with one or more members", async () => {
  const tar = tarOf(dir("image"), file("image/image.boot", BOOTSTRAP));
  const half = tar.length >> 1;
  const members = concatenate([gzipSync(tar.subarray(0, half)), gzipSync(tar.subarray(half))]);
  for (const layer of [tar, new Uint8Array(gzipSync(tar)), members]) {
    assert.deepEqual(await find(layer, "0f".repeat(32)), { found: BOOTSTRAP, container: undefined });
  }
});

Deno.test("image/image.boot is preferred to image.boot, and the last of two equal names is used", async () => {
  const text = (name: string, content: string) => file(name, content.padEnd(600));
  const old = text("image.boot", "old place");
  const get = async (...entries: TestEntry[]) => new TextDecoder().decode((await find(tarOf(...entries))).found).trim();
  assert.equal(await get(old), "old place");
  assert.equal(await get(text("./image/image.boot", "new"), old), "new");
  assert.equal(await get(text("image/image.boot", "1"), text("/image/image.boot", "2")), "2");
  assert.equal(await get(old, text("image/image.boot", "1"), symlink("image/image.boot", "/etc/passwd")), "old place");
});

Deno.test("input without a bootstrap is refused with an error that says so", async () => {
  const garbage = Uint8Array.from({ length: 5000 }, (_, i) => i * i >> 3);
  const none = [
    new Uint8Array(0),
    new Uint8Array(100),
    new Uint8Array(1 << 16),
    garbage,
    tarOf(file("etc/passwd", "root"), whiteout("x")),
    tarOf(),
    new Uint8Array(gzipSync(tarOf(file("image/other", "x")))),
    await Deno.readFile(`${RAFS_FIXTURES}/blobs/${openBootstrap(BOOTSTRAP).blobs[0]?.id}`),
  ];
  for (const bytes of none) {
    await assert.rejects(
      find(bytes),
      (error) =>
        hasCode(error, "invalid-image") && /^Cannot find a bootstrap in .*source: it is neither/.test(error.message),
    );
  }
});

Deno.test("a damaged layer is reported with what is damaged", async () => {
  const tar = tarOf(dir("image"), file("image/image.boot", BOOTSTRAP));
  const gzip = new Uint8Array(gzipSync(tar));
  const flipped = gzip.slice();
  flipped[gzip.length >> 1] = (flipped[gzip.length >> 1] ?? 0) ^ 0xff;
  await assert.rejects(find(gzip.subarray(0, -20)), /^NydusGdError: Cannot read layer .*: its gzip is damaged: /);
  await assert.rejects(
    find(flipped),
    /^NydusGdError: Cannot read layer .*: its gzip is damaged: |^TarError: Cannot read/,
  );
  await assert.rejects(
    find(tar.subarray(0, 2000)),
    /^TarError: Cannot read layer .*: cannot read tar at 2000: the stream ends/,
  );
  await assert.rejects(
    find(new Uint8Array(gzipSync(tar.subarray(0, 2000)))),
    /^TarError: Cannot read layer .*: cannot read tar at 2000/,
  );
  const lying = tar.slice();
  lying.set(new TextEncoder().encode("deadbeef"), 512);
  await assert.rejects(find(lying), /^TarError: Cannot read layer .*: cannot read tar header at 512: /);
});

Deno.test("zstd is refused by name", async () => {
  const layer = new Uint8Array(zstdCompressSync(tarOf(file("image/image.boot", BOOTSTRAP))));
  await assert.rejects(
    find(layer),
    (error) => hasCode(error, "unsupported") && /: it is compressed with zstd$/.test(error.message),
  );
});

Deno.test("a damaged inlined bootstrap is refused, not extracted", async () => {
  const { bootstrap } = fixtureOf("v6-inline-toc");
  const blob = await Deno.readFile(bootstrap);
  for (let back = 600; back < 6000; back += 300) {
    const changed = blob.slice();
    changed[blob.length - back] = (changed[blob.length - back] ?? 0) ^ 0x55;
    try {
      assert.deepEqual((await find(changed)).found, await readFixtureBootstrap(fixtureOf("v6-inline-toc")));
    } catch (error) {
      assert.ok(hasCode(error, "invalid-image", "unsupported"), String(error));
    }
  }
});

Deno.test("input that is not a file is refused", async () => {
  using temp = TempDir.make();
  await Deno.writeFile(temp.join("file"), BOOTSTRAP);
  const into = temp.join("image.boot");
  await assert.rejects(findBootstrap(temp.join("gone"), into, "source"), (error) => hasCode(error, "not-found"));
  await assert.rejects(findBootstrap(temp.join("file/below"), into, "source"), (error) => hasCode(error, "not-found"));
  await assert.rejects(findBootstrap(temp.path, into, "source"), (error) => hasCode(error, "usage"));
});
