import assert from "node:assert/strict";
import { QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { buildFrom, buildVisited, type BuiltRafs, refusal, show } from "../../../tests/support/rafs/built_rafs.ts";
import { noise } from "../../../tests/support/image/convert_kit.ts";
import {
  device,
  dir,
  fifo,
  file,
  hardlink,
  symlink,
  tarOf,
  type TestEntry,
  xattrs,
} from "../../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { tarEntry } from "../../archive/tar.ts";
import { LocalFsBackend } from "../../backend/localfs.ts";
import { fromByteString, toByteString } from "../../base/bytes.ts";
import { BlobCache } from "../../blob/blob_cache.ts";
import { walkTree } from "../../rafs/walk.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";
import { OpenImage } from "../open_image.ts";

const CHUNK = 4096;

const pathsOf = async (image: BuiltRafs) => [...(await show(image)).keys()];
const chunkCount = ({ bootstrap }: BuiltRafs) => bootstrap.blobs[0]?.chunkCount ?? 0;

Deno.test("an image has the tree of its tar", async () => {
  const image = await buildFrom(tarOf(
    dir("./", { mode: 0o711, uid: 5 }),
    dir("./etc"),
    file("./etc/conf", "text", {
      uid: 70_000,
      gid: 8,
      mode: 0o4640,
      mtimeSec: -5,
      mtimeNsec: 7,
      ...xattrs({ "user.a": "1" }),
    }),
    symlink("./etc/link", "../somewhere"),
    fifo("./etc/pipe"),
    device("./etc/null", "char", 1, 3),
    device("./etc/disk", "block", 259, 70_000),
    file("./etc/\xff\xfe", "bytes"),
  ));
  const shown = await show(image);
  assert.equal(shown.get("/")?.mode, 0o040711);
  assert.equal(shown.get("/")?.uid, 5);
  const { mode, uid, gid, mtime, mtimeNsec, content, xattrs: found } = shown.get("/etc/conf") ?? assert.fail();
  assert.deepEqual({ mode, uid, gid, mtime, mtimeNsec, content, found }, {
    mode: 0o104640,
    uid: 70_000,
    gid: 8,
    mtime: -5,
    mtimeNsec: 7,
    content: "text",
    found: { "user.a": "31" },
  });
  assert.equal(shown.get("/etc/link")?.target, "../somewhere");
  assert.equal(shown.get("/etc/pipe")?.mode, 0o010644);
  assert.equal(shown.get("/etc/null")?.rdev, 0x103);
  assert.equal(shown.get("/etc/disk")?.rdev, ((70_000 & 0xff) | (259 << 8) | ((70_000 & ~0xff) << 12)) >>> 0);
  assert.equal(shown.get("/etc/\xff\xfe")?.content, "bytes");
});

Deno.test("files that end before, at and after a chunk boundary are read back completely", async () => {
  const sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1];
  const contents = sizes.map((size, k) => noise(size, k + 1));
  const image = await buildFrom(tarOf(...contents.map((content, k) => file(`f${k}`, content))));
  const shown = await show(image);
  contents.forEach((content, k) => assert.equal(shown.get(`/f${k}`)?.content, toByteString(content)));
  assert.equal(chunkCount(image), 0 + 1 + 1 + 1 + 2 + 2 + 3);
});

Deno.test("equal chunks are stored once, also across files", async () => {
  const content = noise(2 * CHUNK);
  const twice = new Uint8Array([...content, ...content.subarray(0, CHUNK)]);
  assert.equal(chunkCount(await buildFrom(tarOf(file("a", content), file("b", content), file("c", twice)))), 2);
});

Deno.test("holes are one chunk of zeros, whatever their size, and store no data", async () => {
  const sizeBytes = 5 * CHUNK + 10;
  const image = await buildVisited(CHUNK, (builder) => {
    for (const [name, size] of [["a", sizeBytes], ["b", 1 << 30]] as const) {
      builder.entry(tarEntry({ type: "file", name: fromByteString(name), sizeBytes: size }));
      builder.data(fromByteString("start"), 10);
      builder.data(fromByteString("middle"), 3 * CHUNK - 3);
      builder.endEntry();
    }
  });
  const { bootstrap } = image;
  const inodes = new Map(Array.from(walkTree(bootstrap), ({ path, ino }) => [toByteString(path), ino]));
  const a = bootstrap.extents(inodes.get("/a") ?? 0, 0, sizeBytes).map(({ chunkIndex }) => chunkIndex);
  assert.deepEqual(a, [0, 1, 2, 3, 1, 4]);
  assert.equal(new Set(bootstrap.extents(inodes.get("/b") ?? 0, 0, 1 << 30).map((e) => e.chunkIndex)).size, 4);
  assert.equal(chunkCount(image), 5);
  const { blobs } = bootstrap;
  assert.equal(blobs[0]?.uncompressedSize, 5 * CHUNK);
});

Deno.test("a hard link is another name of a file, symbolic link, device or fifo", async () => {
  const image = await buildFrom(tarOf(
    file("f", "text"),
    symlink("s", "f"),
    device("c", "char", 1, 3),
    fifo("p"),
    dir("d"),
    ...["f", "s", "c", "p"].map((name) => hardlink(`d/${name}`, `./${name}`)),
    hardlink("d/f2", "d/f"),
    hardlink("f", "f"),
  ));
  const shown = await show(image);
  for (const name of ["s", "c", "p"]) {
    const first = name === "c" ? "/c" : `/d/${name}`;
    for (const at of [`/${name}`, `/d/${name}`]) {
      assert.deepEqual([shown.get(at)?.nlink, shown.get(at)?.link], [2, first]);
    }
  }
  assert.deepEqual([shown.get("/f")?.nlink, shown.get("/f")?.link, shown.get("/d/f2")?.content], [3, "/d/f", "text"]);
});

Deno.test("a hard link's entry describes its file anew, as when a layer is unpacked", async () => {
  const fields = { mode: 0o4755, uid: 7, gid: 8, mtimeSec: 2n ** 60n, mtimeNsec: 9 };
  const image = await buildFrom(tarOf(
    file("f", "text", xattrs({ "user.a": "1", "user.b": "1" })),
    symlink("s", "f"),
    hardlink("g", "f", { ...fields, ...xattrs({ "user.b": "2", "user.c": "3" }) }),
    hardlink("t", "s", { ...fields, mtimeSec: 5 }),
  ));
  const shown = await show(image);
  const found = (name: string) => {
    const { mode, uid, gid, mtime, mtimeNsec, xattrs: attributes } = shown.get(name) ?? assert.fail();
    return { mode: mode.toString(8), uid, gid, mtime, mtimeNsec, attributes };
  };
  const common = { mode: "104755", uid: 7, gid: 8, mtime: 2n ** 60n, mtimeNsec: 9 };
  for (const name of ["/f", "/g"]) {
    assert.deepEqual(found(name), { ...common, attributes: { "user.a": "31", "user.b": "32", "user.c": "33" } });
  }
  for (const name of ["/s", "/t"]) {
    assert.deepEqual(found(name), { ...common, mode: "120777", mtime: 5, attributes: {} });
  }
});

Deno.test("a repeated directory gets the new attributes and keeps its content and extended ones, also the root", async () => {
  const shown = await show(
    await buildFrom(tarOf(
      file("implied/d/f", "1"),
      dir("implied", { mode: 0o700, ...xattrs({ "user.old": "1" }) }),
      dir("implied", { mode: 0o750, uid: 9 }),
      dir("./", { mode: 0o700, ...xattrs({ "user.root": "1" }) }),
      dir("./", { mode: 0o701 }),
    )),
  );
  assert.deepEqual([...shown.keys()], ["/", "/implied", "/implied/d", "/implied/d/f"]);
  assert.deepEqual([shown.get("/")?.mode, shown.get("/")?.xattrs], [0o040701, { "user.root": "31" }]);
  const { mode, uid, nlink, xattrs: left } = shown.get("/implied") ?? assert.fail();
  assert.deepEqual({ mode, uid, nlink, left }, { mode: 0o040750, uid: 9, nlink: 3, left: { "user.old": "31" } });
  assert.equal(shown.get("/implied/d")?.mode, 0o040755);
});

Deno.test("any other repeated name replaces the previous entry and everything below it", async () => {
  const shown = await show(
    await buildFrom(tarOf(
      file("f", "old"),
      hardlink("kept", "f"),
      file("f", "new"),
      file("d/below/deep", "1"),
      file("d", "now a file"),
      symlink("s", "x"),
      dir("s"),
      file("s/in", "2"),
    )),
  );
  assert.deepEqual([...shown.keys()], ["/", "/d", "/f", "/kept", "/s", "/s/in"]);
  assert.deepEqual(["/f", "/kept", "/d", "/s/in"].map((path) => shown.get(path)?.content), [
    "new",
    "old",
    "now a file",
    "2",
  ]);
  assert.equal(shown.get("/kept")?.nlink, 1);
});

Deno.test("a symbolic link within a path is followed inside the root, as when a layer is unpacked", async () => {
  const shown = await show(
    await buildFrom(tarOf(
      dir("usr/lib", { mode: 0o750 }),
      symlink("lib", "usr/lib"),
      file("lib/a", "1"),
      dir("lib/deep"),
      symlink("usr/up", "../../../lib/./deep/.."),
      file("usr/up/b", "2"),
      symlink("root", "/"),
      hardlink("root/c", "usr/up/a"),
      file("root/usr/up/new/d", "3"),
    )),
  );
  const files = ["/c", "/usr/lib/a", "/usr/lib/b", "/usr/lib/new/d"];
  assert.deepEqual([...shown].filter(([, { content }]) => content !== "").map(([path]) => path), files);
  assert.equal(shown.get("/lib")?.target, "usr/lib");
  assert.deepEqual([shown.get("/usr/lib")?.mode, shown.get("/c")?.link], [0o040750, "/c"]);
});

Deno.test("attributes that Linux does not have are omitted, as when unpacking, and overlayfs's own", async () => {
  const shown = await show(
    await buildFrom(tarOf(
      dir("d", xattrs({ "trusted.overlay.opaque": "y", "trusted.overlay.redirect": "/etc", "trusted.other": "1" })),
      file("f", "", xattrs({ "com.apple.provenance": "x", "system.nfs4_acl": "x", "plain": "x", "user.a": "1" })),
      file("g", "", xattrs({ "system.posix_acl_access2": "x" })),
    )),
  );
  assert.deepEqual(shown.get("/d")?.xattrs, { "trusted.other": "31" });
  assert.deepEqual([shown.get("/f")?.xattrs, shown.get("/g")?.xattrs], [{ "user.a": "31" }, {}]);
});

Deno.test("an access ACL follows the mode of its file, as when unpacking, also that of a later hard link", async () => {
  const acl = (
    owner: number,
    mask: number,
    others: number,
  ) => [
    2,
    0,
    0,
    0,
    ...[[1, owner], [2, 7], [4, 7], [16, mask], [32, others]].flatMap(([tag, may]) => [tag, 0, may, 0, 9, 0, 0, 0]),
  ];
  const given = String.fromCharCode(...acl(7, 7, 7) as number[]);
  const fields = xattrs({ "system.posix_acl_access": given, "system.posix_acl_default": given });
  const shown = await show(
    await buildFrom(tarOf(
      dir("d", { mode: 0o750, ...fields }),
      file("f", "", { mode: 0o600, ...fields }),
      hardlink("g", "f", { mode: 0o640 }),
    )),
  );
  const hex = (owner: number, mask: number, others: number) =>
    Uint8Array.from(acl(owner, mask, others) as number[]).toHex();
  assert.deepEqual(shown.get("/d")?.xattrs["system.posix_acl_access"], hex(7, 5, 0));
  assert.deepEqual(shown.get("/d")?.xattrs["system.posix_acl_default"], hex(7, 7, 7));
  assert.deepEqual(shown.get("/f")?.xattrs["system.posix_acl_access"], hex(6, 4, 0));
});

Deno.test("an attribute that RAFS cannot store is refused by name, with the file", async () => {
  for (const name of ["user.", `user.${"x".repeat(251)}`]) {
    const { message } = await refusal(dir("d"), file("d/f", "", xattrs({ [name]: "value" })));
    assert.equal(
      message,
      `Cannot convert "d/f": RAFS cannot hold its extended attribute ${JSON.stringify(name)} of 5 bytes`,
    );
  }
  assert.match(
    (await refusal(file("f", "", xattrs({ "user.a": "x".repeat(65_536) })))).message,
    /"user.a" of 65536 bytes$/,
  );
});

Deno.test("an invalid entry is refused with an error that names it", async () => {
  const cases: [RegExp, ...TestEntry[]][] = [
    [/^Cannot convert "a": it is a hard link to "b", which is not there$/, hardlink("a", "b")],
    [/^Cannot convert "a": it is a hard link to "d", which is a folder$/, dir("d"), hardlink("a", "d/")],
    [/^Cannot convert "f\/below": "f" is not a folder$/, file("f"), file("f/below")],
    [/^Cannot convert "s\/below": "s" is not a folder$/, symlink("s", "d"), file("s/below")],
    [/^Cannot convert "s\/below": "s" is not a folder$/, symlink("s", "t"), symlink("t", "s"), file("s/below")],
    [/^Cannot convert "a": it is a hard link to "s\/f", which is not there$/, symlink("s", "d"), hardlink("a", "s/f")],
    [/^Cannot convert "\.\.\/b": "\.\." leads out of its folder$/, file("a/../../b")],
    [/^Cannot convert "\.\.": "\.\." leads out of its folder$/, dir("..")],
    [/^Cannot convert "": the root is not a folder$/, file("./.")],
    [/^Cannot convert "": the root is not a folder$/, file("f"), hardlink(".", "f")],
    [/: a name of 256 bytes exceeds 255$/, file("x".repeat(256))],
    [/^Cannot convert "f": uid 4294967296 is not within 32 bits$/, file("f", "", { uid: 2 ** 32 })],
    [/^Cannot convert "d": device 4096:0 exceeds 12:20 bits$/, device("d", "char", 4096, 0)],
  ];
  for (const [pattern, ...entries] of cases) assert.match((await refusal(...entries)).message, pattern);
});

Deno.test("a sparse file that exceeds the limit of a blob is refused before any work is done", async () => {
  await assert.rejects(
    () =>
      buildVisited(CHUNK, (builder) => {
        builder.entry(tarEntry({ type: "file", name: fromByteString("huge"), sizeBytes: 2 ** 52 }));
      }),
    /^NydusGdError: Cannot convert "huge": 4503599627370496 bytes exceed 16777216 chunks$/,
  );
});

Deno.test("an image without data has no blob, and one without entries has a root", async () => {
  assert.deepEqual(await pathsOf(await buildFrom(tarOf())), ["/"]);
  const empty = await buildFrom(tarOf(file("empty"), dir("d")));
  assert.deepEqual([await pathsOf(empty), empty.bootstrap.blobs.length], [["/", "/d", "/empty"], 0]);
});

Deno.test("the same tar yields the same bytes, whatever the size of the pieces", async () => {
  const tar = tarOf(dir("d"), file("d/a", noise(3 * CHUNK)), file("d/b", noise(10)), hardlink("c", "d/a"));
  const [one, other] = [
    await buildFrom(tar, { chunkSize: CHUNK }, tar.length),
    await buildFrom(tar, { chunkSize: CHUNK }, 513),
  ];
  assert.equal(one.blobId, other.blobId);
  assert.deepEqual(one.bytes, other.bytes);
});

Deno.test('".." in a name takes the name before it away, whatever a link there leads to, and never leads out', async () => {
  const image = await buildFrom(tarOf(
    dir("a"),
    symlink("a/up", "/"),
    file("a/../b", "1"),
    file("a/up/../c", "2"),
    hardlink("d", "no/../b"),
  ));
  assert.deepEqual(await pathsOf(image), ["/", "/a", "/a/c", "/a/up", "/b", "/d"]);
  assert.equal((await show(image)).get("/d")?.link, "/b");
  for (const name of ["../b", "a/../../b", ".."]) {
    assert.match((await refusal(file(name, "1"))).message, /".." leads out of its folder$/);
  }
});

Deno.test("the cache reads the blob by chunks from its folder, and every file has its content", async () => {
  using temp = TempDir.make();
  const contents = new Map([["/a", noise(5 * CHUNK + 3)], ["/b", new Uint8Array(2 * CHUNK)], ["/c", noise(7, 9)]]);
  const { bytes, blob, blobId } = await buildFrom(tarOf(...[...contents].map(([name, data]) => file(name, data))));
  await Deno.mkdir(temp.join("blobs"));
  await Deno.writeFile(temp.join(`blobs/${blobId}`), blob);
  await Deno.writeFile(temp.join("image.boot"), bytes);
  await using cache = BlobCache.open(temp.join("cache"), QUIET);
  const backend = LocalFsBackend.inFolder(temp.join("blobs"));
  await using image = OpenImage.open({
    name: "built",
    bootstrap: MappedBootstrap.open(temp.join("image.boot")),
    backend,
    cache,
  });
  const [store] = image.blobs;
  assert.equal(store?.id, blobId);
  for (const { path, ino, attr } of walkTree(image.tree)) {
    const expected = contents.get(toByteString(path));
    if (expected === undefined) continue;
    const read = new Uint8Array(attr.size);
    for (const { blobOffset, length, fileOffset } of image.tree.extents(ino, 0, attr.size)) {
      await store.ensure(blobOffset, length, "on-demand");
      preadExact((await store.open()).dataFd, read.subarray(fileOffset, fileOffset + length), blobOffset);
    }
    assert.deepEqual(read, expected);
  }
  assert.equal(store.stats().chunksReady, store.stats().chunks);
});
