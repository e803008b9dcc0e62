import assert from "node:assert/strict";
import {
  fixtureOf,
  listRafsFixtures,
  MemoryImage,
  percentEncode,
  readFixtureBootstrap,
  storedListing,
} from "../../../tests/support/rafs/rafs_fixtures.ts";
import { createHash } from "node:crypto";
import { blake3 } from "hash-wasm";
import { hasCode } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Manifest } from "../../oci/manifest.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "../../oci/media_types.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { pathText } from "../../rafs/path_text.ts";
import { walkTree } from "../../rafs/walk.ts";
import { inspectFile } from "./inspect_file.ts";
import { inspectImage } from "./inspect_image.ts";

const fixtures = listRafsFixtures();
const options = { manifest: undefined, container: undefined, depth: 1 };

const TYPES: Readonly<Record<string, string>> = {
  reg: "file",
  dir: "directory",
  lnk: "symlink",
  chr: "char",
  blk: "block",
  fifo: "fifo",
  sock: "socket",
};

for (const fixture of fixtures) {
  Deno.test(`the facts of ${fixture.name} match its listing`, async () => {
    const tree = openBootstrap(await readFixtureBootstrap(fixture), { treeOnly: true });
    const facts = inspectImage(tree, { ...options, container: fixture.container });
    const listing = storedListing(fixture);
    const firsts = listing.filter(({ link, path }) => link === undefined || link === path);
    const typeOf = new Map(listing.map(({ path, type }) => [path, TYPES[type] ?? "?"]));
    const counts: Record<string, number> = {};
    const seen = new Set<number>(); // a listing does not name links to other than regular files
    for (const { path, ino } of walkTree(tree)) {
      const type = typeOf.get(percentEncode(path)) ?? "?";
      if (!seen.has(ino)) counts[type] = (counts[type] ?? 0) + 1;
      seen.add(ino);
    }
    assert.equal(facts.names, listing.length);
    assert.deepEqual(facts.inodes, counts);
    const bytes = firsts.reduce((sum, { type, size = 0 }) => type === "reg" ? sum + size : sum, 0);
    assert.equal(facts.file_bytes, bytes);
    assert.ok(facts.chunks.distinct <= facts.chunks.references && facts.chunks.distinct_bytes <= bytes);
    const upper = listing.filter(({ path }) => path === "/" || path.lastIndexOf("/") === 0);
    assert.equal(facts.tree.length, upper.length);
    for (const { id, used_chunks: used, chunks } of facts.blobs) {
      assert.match(id, /^[0-9a-z-]+$/);
      assert.ok(used <= chunks || chunks === 0);
    }
  });
}

for (const name of ["v5-lz4-sha256-64k", "v6-none-sha256-4k", "v6-zstd-batch", "v6-inline-toc"]) {
  Deno.test(`every path of ${name} is found, and the chunks of a file are its content`, async () => {
    const fixture = fixtureOf(name);
    const image = await MemoryImage.open(fixture);
    const tree = image.bootstrap;
    const listing = new Map(storedListing(fixture).map((entry) => [entry.path, entry]));
    let chunks = 0;
    for (const { path } of walkTree(tree)) {
      const facts = inspectFile(tree, pathText(path), fixture.container);
      const encoded = percentEncode(path);
      const listed = listing.get(encoded) ?? assert.fail(encoded);
      assert.deepEqual(
        [facts.type, facts.mode, facts.uid, facts.gid, facts.mtime, facts.mtime_nsec, facts.device],
        [TYPES[listed.type], listed.mode, listed.uid, listed.gid, listed.mtime, listed.mtime_nsec, listed.rdev],
      );
      assert.equal(Object.keys(facts.xattrs).length, Object.keys(listed.xattrs ?? {}).length);
      if (listed.type !== "reg") continue;
      const content = await image.content(facts.inode, facts.size);
      let at = 0;
      for (const chunk of facts.chunks ?? []) {
        assert.equal(chunk.file_offset, at);
        const plain = content.subarray(at, at += chunk.bytes);
        const digester = tree.blobs.find(({ index }) => image.blobs[index]?.descriptor.digester)?.digester;
        const digest = digester === "blake3" ? await blake3(plain) : createHash("sha256").update(plain).digest("hex");
        if (chunk.digest !== null) assert.equal(chunk.digest, digest);
        chunks++;
      }
      assert.equal(at, facts.size);
    }
    assert.ok(chunks > 50);
  });
}

Deno.test("a directory lists what is in it", async () => {
  const tree = openBootstrap(await readFixtureBootstrap(fixtureOf("v6-layers-merged")));
  const { entries = [], type } = inspectFile(tree, "/etc/", undefined);
  assert.equal(type, "directory");
  const expected = storedListing(fixtureOf("v6-layers-merged"))
    .filter(({ path }) => path.startsWith("/etc/") && path.lastIndexOf("/") === 4);
  assert.deepEqual(entries.map(({ path }) => path), expected.map(({ path }) => path));
});

Deno.test("a missing path is reported with its missing component", async () => {
  const tree = openBootstrap(await readFixtureBootstrap(fixtureOf("v6-layers-merged")));
  const fails = (path: string, message: string) =>
    assert.throws(
      () => inspectFile(tree, path, undefined),
      (error) => hasCode(error, "not-found") && error.message === message,
    );
  fails("/etc/no/where", "Cannot inspect /etc/no/where: there is no /etc/no");
  fails("/keep/k2/x", "Cannot inspect /keep/k2/x: /keep/k2 is not a directory");
});

Deno.test("of a manifest that is not marked the lowest layer is the bootstrap, as docker push leaves it", async () => {
  const tree = openBootstrap(await readFixtureBootstrap(fixtureOf("v6-layers-merged")));
  const [config, lowest, above] = ["c", "1", "2"].map((digit) => ({
    mediaType: MEDIA_TYPE.dockerLayerGzip,
    digest: `sha256:${digit.repeat(64)}` as const,
    size: 1,
  })) as [Descriptor, Descriptor, Descriptor];
  const kindsOf = (...layers: Descriptor[]) =>
    inspectImage(tree, { ...options, manifest: { config, layers } as Manifest }).layers?.map(({ kind }) => kind);
  assert.deepEqual(kindsOf(lowest, above), ["bootstrap", "layer"]);
  const marked = { ...above, annotations: { [NYDUS_ANNOTATION.bootstrap]: "true" } };
  assert.deepEqual(kindsOf(lowest, marked), ["layer", "bootstrap"]);
});

Deno.test("flags and features have names", async () => {
  const facts = inspectImage(openBootstrap(await readFixtureBootstrap(fixtureOf("v6-zstd-batch"))), options);
  assert.ok(facts.flags.includes("digest-blake3") && facts.flags.includes("compression-zstd"));
  assert.ok(facts.blobs[0]?.features.includes("chunk-info-v2"));
});
