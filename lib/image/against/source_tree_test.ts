import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import {
  device,
  dir,
  file,
  hardlink,
  opaque,
  symlink,
  tarOf,
  type TestEntry,
  whiteout,
  xattrs,
} from "../../../tests/support/archive/tar_builder.ts";
import { anonymousAccess } from "../../../tests/support/image/source_access.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { TarReader } from "../../archive/tar_reader.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { hasCode } from "../../base/errors.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "../../oci/media_types.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { openSource } from "./open_source.ts";
import { type SourceNode, SourceTree } from "./source_tree.ts";
import { TarTree } from "./tar_tree.ts";

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** Lists names with the type, or with the digest of a regular file. */
function shape(node: SourceNode, path = ""): Record<string, string> {
  const { inode, children } = node;
  const what = inode === undefined ? "implied" : inode.digest || (inode.mode & 0o170000).toString(8);
  return Object.assign(
    path === "" ? {} : { [path]: what },
    ...[...children ?? []].map(([name, child]) => shape(child, path === "" ? name : `${path}/${name}`)),
  );
}

function merged(...layers: readonly TestEntry[][]): SourceTree {
  const tree = new SourceTree();
  for (const entries of layers) {
    tree.beginLayer();
    const visitor = new TarTree(tree, { isLayer: true });
    const reader = new TarReader(visitor);
    reader.push(tarOf(...entries));
    reader.finish();
    visitor.finish();
  }
  return tree;
}

const FOLDER = (0o040000).toString(8), LINK = (0o120000).toString(8), CHAR = (0o020000).toString(8);

Deno.test("layers are merged as a container sees them", () => {
  const lower = [
    dir("d"),
    file("d/a", "a"),
    file("d/b", "b"),
    dir("e"),
    file("e/x", "x"),
    file("gone", "g"),
    file("f", "1"),
  ];
  const { root } = merged(lower, [
    file("d/b", "B"),
    whiteout("gone"),
    dir("e", { mode: 0o700 }),
    opaque("e"),
    file("e/y", "y"),
    symlink("f", "d"),
    device("null", "char", 1, 3),
  ]);
  assert.deepEqual(shape(root), {
    d: FOLDER,
    "d/a": sha256("a"),
    "d/b": sha256("B"),
    e: FOLDER,
    "e/y": sha256("y"),
    f: LINK,
    null: CHAR,
  });
  assert.equal(root.children?.get("e")?.inode?.mode, 0o040700);
});

Deno.test("whiteouts and opaque markers hide nothing of their own layer, in any order", () => {
  const lower = [dir("d"), file("d/old", "o"), dir("d/s"), file("d/s/old", "o")];
  const own = [dir("d"), file("d/new", "n"), file("d/s/new", "n")];
  for (const entries of [[...own, opaque("d")], [opaque("d"), ...own], [...own, whiteout("d")]]) {
    assert.deepEqual(shape(merged(lower, entries).root), {
      d: FOLDER,
      "d/new": sha256("n"),
      "d/s": "implied",
      "d/s/new": sha256("n"),
    });
  }
});

Deno.test("a folder of a layer that has only whiteouts in it is there, whatever was hidden before", () => {
  const folders = { a: "implied", "a/b": "implied" };
  const lower = [dir("a"), file("a/b", "b"), file("a/c", "c")];
  for (const mark of [whiteout("a/b/x"), opaque("a/b")]) {
    assert.deepEqual(shape(merged([mark]).root), folders);
    assert.deepEqual(shape(merged(lower, [mark]).root), { a: FOLDER, "a/b": "implied", "a/c": sha256("c") });
    const deeper = [dir("a"), dir("a/b"), file("a/b/x", "x")];
    for (const layer of [[mark, whiteout("a")], [whiteout("a"), mark]]) {
      assert.deepEqual(shape(merged(deeper, layer).root), folders);
    }
  }
});

Deno.test("a folder replaces a file, and a file replaces a folder", () => {
  const { root } = merged([file("a", "x"), dir("b"), file("b/y", "y")], [
    dir("a"),
    file("a/z", "z"),
    file("b", "flat"),
  ]);
  assert.deepEqual(shape(root), { a: FOLDER, "a/z": sha256("z"), b: sha256("flat") });
});

Deno.test("a symbolic link within a path is followed in its own layer, and replaced by a later folder", () => {
  const lower = [dir("usr/lib"), symlink("lib", "usr/lib"), file("lib/a", "a"), hardlink("b", "lib/a")];
  const own = { usr: "implied", "usr/lib": FOLDER, "usr/lib/a": sha256("a"), b: sha256("a") };
  assert.deepEqual(shape(merged(lower).root), { ...own, lib: LINK });
  const both = { ...own, lib: "implied", "lib/c": sha256("c") };
  assert.deepEqual(shape(merged(lower, [file("lib/c", "c")]).root), both);
});

Deno.test("hard links share one inode, which outlives its first name", () => {
  const { root } = merged([file("a", "x"), hardlink("b", "a"), hardlink("./c", "/a")], [whiteout("a")]);
  assert.deepEqual(Object.keys(shape(root)), ["b", "c"]);
  assert.ok(root.children?.get("b")?.inode === root.children?.get("c")?.inode);
  assert.throws(() => merged([hardlink("b", "no")]), (error) => hasCode(error, "invalid-image"));
});

Deno.test("the last hard link to a file determines its attributes", () => {
  const fields = { mode: 0o4755, uid: 7, gid: 8, mtimeNsec: 9 };
  const { root } = merged([
    file("a", "x", xattrs({ "user.a": "1" })),
    hardlink("b", "a", { ...fields, ...xattrs({ "user.b": "2", "trusted.overlay.metacopy": "" }) }),
    symlink("s", "a"),
    hardlink("t", "s", fields),
  ]);
  for (const [name, mode, names] of [["a", 0o104755, ["user.a", "user.b"]], ["s", 0o120777, []]] as const) {
    const inode = root.children?.get(name)?.inode ?? assert.fail();
    assert.deepEqual([inode.mode, inode.uid, inode.gid, inode.mtimeNsec], [mode, 7, 8, 9]);
    assert.deepEqual([...inode.xattrs.keys()], names);
  }
});

Deno.test("attributes are those of the tar, without overlayfs's own, and AUFS's files are ignored", () => {
  const { root } = merged([
    file("f", "x", {
      uid: 7,
      gid: 8,
      mode: 0o4755,
      mtimeNsec: 5,
      ...xattrs({ "user.a": "1", "trusted.overlay.opaque": "y" }),
    }),
    file(".wh..wh.plnk/1.2", "aufs"),
  ]);
  const inode = root.children?.get("f")?.inode ?? assert.fail();
  assert.deepEqual([inode.uid, inode.gid, inode.mode, inode.mtimeNsec], [7, 8, 0o104755, 5]);
  assert.deepEqual([...inode.xattrs.keys()], ["user.a"]);
  assert.deepEqual([...root.children?.keys() ?? []], ["f"]);
});

Deno.test("hard links to AUFS's files have their content, in each layer that of its own", () => {
  const layer = (name: string, content: string) => [
    file(".wh..wh.plnk/1.2", content),
    hardlink(name, ".wh..wh.plnk/1.2"),
  ];
  const { root } = merged(layer("a", "1"), layer("b", "2"));
  assert.deepEqual(shape(root), { a: sha256("1"), b: sha256("2") });
});

Deno.test("in a tar of a whole file system whiteouts are ordinary files", async () => {
  using temp = TempDir.make();
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const access = anonymousAccess(http, temp.path);
  for (
    const [name, pack] of [["x.tar", (tar: Uint8Array) => tar], ["x.tar.gz", gzipSync], [
      "x.tar.zst",
      zstdCompressSync,
    ]] as const
  ) {
    await Deno.writeFile(temp.join(name), pack(tarOf(dir("d"), whiteout("d/a"))));
    const { root } = await openSource(`tar:${temp.join(name)}`, access, new AbortController().signal, () => {});
    assert.deepEqual(Object.keys(shape(root)), ["d", "d/.wh.a"]);
  }
  await Deno.writeFile(temp.join("bad.gz"), gzipSync(tarOf(file("a", "x".repeat(5000)))).subarray(0, 60));
  for (
    const [source, code] of [["tar:/no/such", "not-found"], ["dir:/no/such", "not-found"], [
      `tar:${temp.join("bad.gz")}`,
      "invalid-image",
    ]] as const
  ) {
    await assert.rejects(
      openSource(source, access, new AbortController().signal, () => {}),
      (error) => hasCode(error, code),
    );
  }
});

Deno.test("the ordinary layers of an image in a registry are read, and compared with their digests", async () => {
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  const access = anonymousAccess(http, "/no/such");
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const add = (mediaType: string, bytes: Uint8Array<ArrayBuffer>, tag?: string) => {
    const digest = `sha256:${sha256(bytes)}`;
    for (const name of [digest, ...(tag === undefined ? [] : [tag])]) registry.addManifest(name, mediaType, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const manifest = (layers: readonly Uint8Array[], annotations?: Record<string, string>) =>
    encode({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config: { mediaType: MEDIA_TYPE.ociConfig, digest: `sha256:${sha256("{}")}`, size: 2 },
      layers: layers.map((bytes) => {
        registry.addBlob(bytes);
        return {
          mediaType: MEDIA_TYPE.ociLayerGzip,
          digest: `sha256:${sha256(bytes)}`,
          size: bytes.length,
          annotations,
        };
      }),
    });
  const layers = [gzipSync(tarOf(file("a", "1"), file("b", "2"))), zstdCompressSync(tarOf(whiteout("a")))]
    .map((bytes) => new Uint8Array(bytes));
  const nydus = add(
    MEDIA_TYPE.ociManifest,
    manifest([new Uint8Array(9)], { [NYDUS_ANNOTATION.bootstrap]: "true" }),
    "nydus",
  );
  const ordinary = add(MEDIA_TYPE.ociManifest, manifest(layers));
  add(
    MEDIA_TYPE.ociIndex,
    encode({ schemaVersion: 2, manifests: [nydus, ordinary].map((entry) => ({ ...entry, platform: hostPlatform() })) }),
    "both",
  );
  let bytes = 0;
  const open = (tag: string) =>
    openSource(`${registry.host}/app:${tag}`, access, new AbortController().signal, (more) => bytes += more);
  assert.deepEqual(shape((await open("both")).root), { b: sha256("2") });
  assert.equal(bytes, layers.reduce((sum, layer) => sum + layer.length, 0));
  await assert.rejects(open("nydus"), (error) => hasCode(error, "not-found"));
});
