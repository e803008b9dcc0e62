import assert from "node:assert/strict";
import { ConvertKit, noise } from "../../../tests/support/image/convert_kit.ts";
import { CREATED, type TestImage, type TestLayer, writeLayout } from "../../../tests/support/image/layout_builder.ts";
import { dir, file, hardlink, opaque, symlink, tarOf, whiteout } from "../../../tests/support/archive/tar_builder.ts";
import { toByteString } from "../../base/bytes.ts";
import { hasCode } from "../../base/errors.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { walkTree } from "../../rafs/walk.ts";
import { PrefetchPatterns } from "./merge/prefetch_patterns.ts";

const BASE = tarOf(
  dir("./"),
  dir("etc", { mode: 0o700, uid: 3 }),
  file("etc/kept", noise(10_000)),
  file("etc/gone", "1"),
  file("etc/replaced", "old"),
  dir("opaque"),
  file("opaque/below", "1"),
  dir("folder"),
  file("folder/deep/f", "1"),
  symlink("link", "etc/kept"),
  hardlink("again", "etc/kept"),
);
const UPPER = tarOf(
  whiteout("etc/gone"),
  file("etc/replaced", noise(10_000)),
  file("opaque/own", "2"),
  opaque("opaque"),
  whiteout("folder"),
  file("folder", "now a file"),
  file(".wh..wh.aufs", ""),
  whiteout("never/there"),
);

Deno.test("layers are merged as an engine stacks them, whatever their compression", async () => {
  for (const [below, above] of [["gzip", "zstd"], ["none", "gzip"], ["zstd", "none"]] as const) {
    for (const fsVersion of [5, 6] as const) {
      using kit = new ConvertKit();
      await writeLayout(kit.temp.join("source"), {
        layers: [{ tar: BASE, compression: below }, { tar: UPPER, compression: above }],
      });
      const options = { fsVersion, batchSize: fsVersion === 6 ? 4096 : 0, digester: "blake3" } as const;
      const { platforms } = await kit.convert(kit.named("source"), kit.named("target"), options);
      assert.deepEqual(platforms.map(({ platform, layers }) => [platform, layers.length]), [["linux/amd64", 2]]);
      assert.deepEqual(await kit.paths(), [
        "/",
        "/again",
        "/etc",
        "/etc/kept",
        "/etc/replaced",
        "/folder",
        "/link",
        "/never",
        "/opaque",
        "/opaque/own",
      ]);
    }
  }
});

Deno.test("a folder that occurs only within a path keeps the attributes of the layer below", async () => {
  using kit = new ConvertKit();
  await kit.convertLayers({ tar: BASE }, { tar: tarOf(file("etc/new/f", "1")) });
  await kit.paths();
  const tree = openBootstrap(Deno.readFileSync(kit.temp.join("image.boot")));
  const found = new Map(Array.from(walkTree(tree), ({ path, attr, ino }) => {
    const names = [...tree.xattrs(ino)].map(([name]) => toByteString(name));
    return [toByteString(path), { mode: attr.mode & 0o7777, uid: attr.uid, names }];
  }));
  assert.deepEqual(found.get("/etc"), { mode: 0o700, uid: 3, names: [] });
  assert.deepEqual(found.get("/etc/new"), { mode: 0o755, uid: 0, names: [] });
});

Deno.test("the same image yields the same bytes, and a layer that was converted before is not read again", async () => {
  using kit = new ConvertKit();
  const first = await kit.convertLayers({ tar: BASE }, { tar: UPPER });
  const fresh = await kit.convert(kit.named("source"), kit.named("other"));
  assert.deepEqual([fresh.digest, fresh.platforms[0]?.layers.map(({ reused }) => reused)], [first.digest, [
    false,
    false,
  ]]);
  kit.events.length = 0;
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: BASE }, { tar: tarOf(file("new")) }] });
  const next = await kit.convert(kit.named("source"), kit.named("target"));
  assert.deepEqual(next.platforms[0]?.layers.map(({ reused }) => reused), [true, false]);
  assert.deepEqual([
    ...new Set(kit.events.filter(({ event }) => event === "read").map((event) => "layer" in event && event.layer[0])),
  ], ["2"]);
  await Deno.remove(kit.temp.join("records"), { recursive: true });
  const known = await kit.convert(kit.named("source"), kit.named("target"));
  assert.deepEqual([known.digest, known.platforms[0]?.layers.map(({ reused }) => reused)], [next.digest, [true, true]]);
});

Deno.test("a folder is converted through a symbolic link, with hard links kept", async () => {
  using kit = new ConvertKit();
  const tree = kit.temp.join("tree");
  await Deno.mkdir(`${tree}/b/empty`, { recursive: true });
  await Deno.writeFile(`${tree}/b/file`, noise(10_000));
  await Deno.link(`${tree}/b/file`, `${tree}/a`);
  await Deno.symlink("b/file", `${tree}/c`);
  await Deno.symlink(tree, kit.temp.join("link"));
  await kit.convert(`dir:${kit.temp.join("link")}`, kit.named("target"));
  assert.deepEqual(await kit.paths(), ["/", "/a", "/b", "/b/empty", "/b/file", "/c"]);
  const image = openBootstrap(Deno.readFileSync(kit.temp.join("image.boot")));
  const inodes = new Map(Array.from(walkTree(image), ({ path, ino }) => [toByteString(path), ino]));
  assert.equal(inodes.get("/a"), inodes.get("/b/file"));
  assert.equal(toByteString(image.readlink(inodes.get("/c") ?? 0)), "b/file");
});

Deno.test("a layer that occurs twice in an image is converted once", async () => {
  using kit = new ConvertKit();
  const { platforms } = await kit.convertLayers({ tar: BASE }, { tar: UPPER }, { tar: BASE });
  const layers = platforms[0]?.layers ?? [];
  assert.deepEqual(layers.map(({ reused }) => reused), [false, false, true]);
  assert.equal(layers[2]?.digest, layers[0]?.digest);
});

Deno.test("equal chunks of two layers become one chunk of the image", async () => {
  using kit = new ConvertKit();
  const content = noise(8192);
  await kit.convertLayers({ tar: tarOf(file("a", content)) }, {
    tar: tarOf(file("b", content), file("c", noise(10, 7))),
  });
  await kit.paths();
  const tree = openBootstrap(Deno.readFileSync(kit.temp.join("image.boot")));
  const chunks = Array.from(
    walkTree(tree),
    ({ ino, attr }) => (attr.mode & 0o170000) === 0o100000 ? tree.extents(ino, 0, attr.size) : [],
  ).flat().map(({ blobIndex, chunkIndex }) => `${blobIndex}:${chunkIndex}`);
  assert.deepEqual([tree.blobs.length, chunks.sort()], [2, ["0:0", "0:0", "0:1", "0:1", "1:2"]]);
});

Deno.test("chunks of a dictionary are not stored again; its blobs are added to the image", async () => {
  const content = noise(40_000);
  for (const fsVersion of [5, 6] as const) {
    using kit = new ConvertKit();
    await writeLayout(kit.temp.join("source"), { layers: [{ tar: tarOf(file("old", content)) }] });
    await kit.convert(kit.named("source"), kit.named("dictionary"), { fsVersion });
    await writeLayout(kit.temp.join("source"), {
      layers: [{ tar: tarOf(file("same", content), file("new", noise(10_000, 5))) }],
    });
    const made = await kit.convert(
      kit.named("source"),
      kit.named("target"),
      { fsVersion },
      { chunksOf: kit.named("dictionary") },
    );
    assert.ok((made.platforms[0]?.layers[0]?.blobBytes ?? 0) < 35_000);
    assert.deepEqual(await kit.paths(), ["/", "/new", "/same"]);
    assert.equal(openBootstrap(Deno.readFileSync(kit.temp.join("image.boot"))).blobs.length, 2);
    const { manifests } = kit.json(made.digest) as { manifests: Described[] };
    const { layers } = kit.json(manifests[1]?.digest ?? "") as { layers: Described[] };
    assert.equal(layers.length, 3);
    await assert.rejects(
      () =>
        kit.convert(kit.named("source"), kit.named("target"), { chunkSize: 8192 }, {
          chunksOf: kit.named("dictionary"),
        }),
      /Cannot use chunk dictionary: (its chunks have 4096 bytes, not 8192|it is RAFS v5, the image v6)$/,
    );
  }
});

Deno.test("a dictionary compressed otherwise serves v6, where each blob has a compressor, and is refused for v5", async () => {
  for (const fsVersion of [5, 6] as const) {
    using kit = new ConvertKit();
    const layers = [{ tar: tarOf(file("same", "a".repeat(9000)), file("old", noise(5000))) }];
    await writeLayout(kit.temp.join("source"), { layers });
    await kit.convert(kit.named("source"), kit.named("dictionary"), { fsVersion, compressor: "zstd" });
    await writeLayout(kit.temp.join("source"), {
      layers: [{ tar: tarOf(file("same", "a".repeat(9000)), file("new", "b".repeat(9000))) }],
    });
    const convert = () =>
      kit.convert(kit.named("source"), kit.named("target"), { fsVersion, compressor: "lz4_block" }, {
        chunksOf: kit.named("dictionary"),
      });
    if (fsVersion === 5) {
      await assert.rejects(convert, /Cannot use chunk dictionary: its chunks are compressed by zstd, not lz4_block$/);
      continue;
    }
    await convert();
    await kit.paths();
    const { blobs } = openBootstrap(Deno.readFileSync(kit.temp.join("image.boot")));
    assert.deepEqual(blobs.map(({ compressor }) => compressor), ["lz4_block", "zstd"]);
  }
});

Deno.test("prefetch patterns select files, folders, and matches of wildcards", async () => {
  for (const fsVersion of [5, 6] as const) {
    using kit = new ConvertKit();
    await writeLayout(kit.temp.join("source"), {
      layers: [{
        tar: tarOf(file("bin/app", "1"), file("lib/a.so", "2"), file("lib/deep/b.so", "3"), file("lib/c.txt")),
      }],
    });
    const prefetch = new PrefetchPatterns("# first\n/bin\n\n/lib/**.so\n/no/such\n");
    await kit.convert(kit.named("source"), kit.named("target"), { fsVersion }, { prefetch });
    await kit.paths();
    const tree = openBootstrap(Deno.readFileSync(kit.temp.join("image.boot")));
    const paths = new Map(Array.from(walkTree(tree), ({ path, ino }) => [ino, toByteString(path)]));
    assert.deepEqual(tree.prefetch.map((ino) => paths.get(ino)).sort(), ["/bin", "/lib/a.so", "/lib/deep/b.so"]);
  }
  assert.throws(() => new PrefetchPatterns("bin/app"), /"bin\/app" does not begin with a slash$/);
});

Deno.test("an image without layers becomes a root without files", async () => {
  for (const fsVersion of [5, 6] as const) {
    using kit = new ConvertKit();
    await writeLayout(kit.temp.join("source"), { layers: [] });
    await kit.convert(kit.named("source"), kit.named("target"), { fsVersion });
    assert.deepEqual(await kit.paths(), ["/"]);
  }
});

Deno.test("one platform of several is converted, and a missing one is an error", async () => {
  using kit = new ConvertKit();
  const layers = [{ tar: BASE }];
  await writeLayout(kit.temp.join("source"), { layers }, { layers, architecture: "arm64" });
  const arm = await kit.convert(kit.named("source"), kit.named("target"), {}, {
    platform: parsePlatform("linux/arm64"),
  });
  assert.deepEqual(arm.platforms.map(({ platform }) => platform), ["linux/arm64"]);
  await assert.rejects(
    () => kit.convert(kit.named("source"), kit.named("target"), {}, { platform: parsePlatform("linux/s390x") }),
    { message: /it has no image for linux\/s390x$/, hint: "it has one for linux/amd64, linux/arm64" },
  );
  await assert.rejects(() => kit.convert(kit.named("target"), kit.named("again")), /it is a nydus image already$/);
});

interface Described {
  readonly digest: string;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly platform?: unknown;
  readonly annotations?: Record<string, string>;
}

Deno.test("the index lists the bootstrap first, then every blob; configuration and annotations are kept", async () => {
  using kit = new ConvertKit();
  const image: TestImage = {
    layers: [{ tar: BASE }, { tar: UPPER }],
    config: { Cmd: ["sh"], Env: ["A=1"] },
    history: [{ created_by: "one" }, { created_by: "nothing", empty_layer: true }, { created_by: "two" }],
    annotations: { "org.example.note": "kept" },
  };
  await writeLayout(kit.temp.join("source"), image, { ...image, architecture: "arm64" });
  const { digest } = await kit.convert(kit.named("source"), kit.named("target"));
  const { manifests } = kit.json(digest) as { manifests: Described[] };
  assert.deepEqual(manifests.map(({ platform, artifactType }) => [platform, artifactType]), [
    [{ architecture: "amd64", os: "linux" }, undefined],
    [{ architecture: "amd64", os: "linux" }, "application/vnd.nydus.image.manifest.v1+json"],
    [{ architecture: "arm64", os: "linux" }, undefined],
    [{ architecture: "arm64", os: "linux" }, "application/vnd.nydus.image.manifest.v1+json"],
  ]);
  for (
    const [k, types] of [
      ["application/vnd.oci.image.layer.v1.tar+gzip"],
      [
        "application/vnd.oci.image.layer.nydus.blob.v1",
        "application/vnd.oci.image.layer.nydus.blob.v1",
        "application/vnd.oci.image.layer.v1.tar+gzip",
      ],
    ].entries()
  ) {
    const { layers, config, annotations } = kit.json(manifests[k]?.digest ?? "") as {
      layers: Described[];
      config: Described;
      annotations: Record<string, string>;
    };
    assert.deepEqual(layers.map(({ mediaType }) => mediaType), types);
    assert.equal(annotations["org.example.note"], "kept");
    const { rootfs, history, config: run } = kit.json(config.digest) as {
      rootfs: { diff_ids: string[] };
      history: { empty_layer?: boolean; created?: string }[];
      config: unknown;
    };
    assert.deepEqual(run, { Cmd: ["sh"], Env: ["A=1"] });
    assert.equal(rootfs.diff_ids.length, types.length);
    assert.equal(history.filter(({ empty_layer }) => empty_layer !== true).length, types.length);
    assert.equal(history.length, 4);
    assert.equal(history.at(-1)?.created, CREATED);
  }
});

Deno.test("a kept ordinary image comes first in the index and is unchanged", async () => {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: BASE }] });
  const { digest } = await kit.convert(kit.named("source"), kit.named("target"), {}, { withOci: true });
  const { manifests } = kit.json(digest) as { manifests: Described[] };
  const source = JSON.parse(Deno.readTextFileSync(kit.temp.join("source/index.json"))).manifests[0] as Described;
  assert.deepEqual([manifests.length, manifests[0]?.digest], [3, source.digest]);
  const { layers } = kit.json(source.digest) as { layers: Described[] };
  for (const layer of layers) {
    const path = (folder: string) => kit.temp.join(`${folder}/blobs/${layer.digest.replace(":", "/")}`);
    assert.deepEqual(Deno.readFileSync(path("target")), Deno.readFileSync(path("source")));
  }
});

Deno.test("in a folder or an archive of files, names that look like whiteouts are files", async () => {
  using kit = new ConvertKit();
  const tree = kit.temp.join("tree");
  await Deno.mkdir(`${tree}/d`, { recursive: true });
  await Deno.writeTextFile(`${tree}/d/.wh.x`, "");
  await Deno.writeTextFile(`${tree}/d/.wh..wh..opq`, "text");
  await kit.convert(`dir:${tree}`, kit.named("target"));
  assert.deepEqual(await kit.paths(), ["/", "/d", "/d/.wh..wh..opq", "/d/.wh.x"]);
  await Deno.writeFile(kit.temp.join("a.tar"), tarOf(file("d/.wh.x")));
  await kit.convert(`tar:${kit.temp.join("a.tar")}`, kit.named("target"));
  assert.deepEqual(await kit.paths(), ["/", "/d", "/d/.wh.x"]);
});

Deno.test("an error in a source is reported in one line, and the target's name stays unchanged", async () => {
  const tar = BASE;
  const cases: [RegExp, TestLayer][] = [
    [/^Cannot convert layer sha256:\w+: its digest sha256:\w+ differs, sha256:\w+$/, {
      tar,
      compression: "none",
      damaged: tar.with(1600, (tar[1600] ?? 0) ^ 1),
    }],
    [/^Cannot convert layer sha256:\w+: its gzip is damaged: /, {
      tar: new Uint8Array([0x1f, 0x8b, 8, ...noise(200)]),
      compression: "none",
    }],
    [/: its digest sha256:\w+ is not the one of the configuration, sha256:0+$/, {
      tar,
      diffId: `sha256:${"0".repeat(64)}`,
    }],
    [/^Cannot convert layer sha256:\w+: cannot read tar header at 0: /, { tar: noise(2048) }],
    [/^Cannot convert layer sha256:\w+: cannot convert "\.\.\/x": "\.\." leads out of its folder$/, {
      tar: tarOf(file("../x")),
    }],
    [/it is a foreign layer/, { tar, mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }],
    [/its media type "application\/x-other" is not supported$/, { tar, mediaType: "application/x-other" }],
    [/^Cannot convert layer sha256:[0-9a-f]{64}: "\.wh\.a" is a whiteout and not a folder$/, {
      tar: tarOf(file("d/.wh.a/lost", "1")),
    }],
    [/^Cannot convert layer sha256:[0-9a-f]{64}: it has a whiteout of "", which is not a valid name$/, {
      tar: tarOf(file(".wh.")),
    }],
  ];
  using kit = new ConvertKit();
  await kit.convertLayers({ tar: tarOf(file("before")) });
  for (const [pattern, layer] of cases) {
    await assert.rejects(() => kit.convertLayers(layer), (error) => {
      assert.ok(hasCode(error, "corrupt", "invalid-image", "unsupported"), String(error));
      assert.match(error.message, pattern);
      return true;
    });
    assert.deepEqual(await kit.paths(), ["/", "/before"]);
  }
});

Deno.test("a folder with other content, and the name of the source itself, are refused as target", async () => {
  using kit = new ConvertKit();
  await Deno.mkdir(kit.temp.join("full"));
  await Deno.writeTextFile(kit.temp.join("full/letter"), "");
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: BASE }] });
  await assert.rejects(
    () => kit.convert(kit.named("source"), kit.named("full")),
    /has files and no oci-layout among them$/,
  );
  await assert.rejects(() => kit.convert(kit.named("source"), kit.named("full/letter")), {
    message: /^Cannot write oci:\S+\/letter: it is not a folder$/,
    hint: /tar:FILE/,
  });
  await assert.rejects(() => kit.convert(kit.named("source"), kit.named("source")), /it is the name of the source/);
});

Deno.test("a target that is no place of an image is refused by name, and a device stays a device", async () => {
  using kit = new ConvertKit();
  const source = `dir:${kit.temp.join("files")}`;
  await Deno.mkdir(kit.temp.join("files"));
  for (const target of ["tar:", "oci:", "dir:", "dir:x", "dir:/x", "docker:x"]) {
    await assert.rejects(
      () => kit.convert(source, target),
      (error) => hasCode(error, "usage") && error.message === `Cannot write ${target}: it is not a target`,
    );
  }
  const device = kit.temp.join("null");
  const { code } = await new Deno.Command("mkfifo", { args: [device] }).output();
  assert.equal(code, 0);
  await assert.rejects(() => kit.convert(source, `tar:${device}`, {}, { force: true }), /null: it is not a file$/);
  await assert.rejects(() => kit.convert("dir:", `oci:${kit.temp.join("out")}`), (error) => hasCode(error, "usage"));
});

Deno.test("a target inside the folder to convert is refused before anything is created", async () => {
  using kit = new ConvertKit();
  const source = kit.temp.join("files");
  await Deno.mkdir(`${source}/d`, { recursive: true });
  for (const target of [`oci:${source}/d/image:1`, `tar:${source}/image.tar`]) {
    await assert.rejects(() => kit.convert(`dir:${source}`, target), /it is in the folder that is converted$/);
  }
  assert.deepEqual(Array.from(Deno.readDirSync(source), ({ name }) => name), ["d"]);
  assert.deepEqual(Array.from(Deno.readDirSync(`${source}/d`)), []);
  await kit.convert(`dir:${source}`, `oci:${source}-lazy:1`);
});
