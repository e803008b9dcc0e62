/**
 * Lazy images that refer to the gzip layers of the ordinary one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { constants, gzipSync, type ZlibOptions } from "node:zlib";
import { ConvertKit, noise } from "../../../tests/support/image/convert_kit.ts";
import { type TestLayer, writeLayout } from "../../../tests/support/image/layout_builder.ts";
import { decompress } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { dir, file, hardlink, tarOf, whiteout } from "../../../tests/support/archive/tar_builder.ts";
import { Inflate } from "../../../ffi/libz.ts";
import { concatenate } from "../../base/bytes.ts";
import { hasCode } from "../../base/errors.ts";
import { digestOf } from "../build/image_builder.ts";
import { blobMetaRange, parseBlobMeta, splitBlobMeta } from "../../rafs/blob/blob_meta.ts";
import { parseManifestDocument } from "../../oci/manifest.ts";
import { openBootstrap } from "../../rafs/open.ts";
import type { ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { extractBootstrap } from "../../rafs/blob/toc.ts";

const sha256 = digestOf;

const words = (length: number, seed = 1) =>
  noise(length, seed).map((byte, k) => k % 7 === 0 ? byte & 0x3f : 0x61 + (byte & 3));

/** 2 MB when compressed, in files of all kinds. */
const TAR = tarOf(
  dir("d"),
  file("d/random", noise(1_000_000)),
  file("d/text", words(2_000_000)),
  file("d/zeros", new Uint8Array(1_000_000)),
  ...Array.from({ length: 100 }, (_, k) => file(`d/small-${k}`, words(k * 50, k))),
  hardlink("again", "d/text"),
  file("same", noise(1_000_000)),
  file("empty", ""),
);

const gzip = (options: ZlibOptions = {}) => new Uint8Array(gzipSync(TAR, options));

/** Members of `bytes` each, as by bgzip and estargz. */
function members(bytes: number, level = 6): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < TAR.length; at += bytes) {
    parts.push(new Uint8Array(gzipSync(TAR.subarray(at, at + bytes), { level })));
  }
  return concatenate(parts);
}

/** A gzip header with all its optional parts. */
function withHeader(stored: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = Uint8Array.of(0x1f, 0x8b, 8, 4 | 8 | 16, 0, 0, 0, 0, 0, 3, 3, 0, 7, 7, 7, 0x61, 0, 0x62, 0);
  return concatenate([header, stored.subarray(10)]);
}

const LAYERS: Readonly<Record<string, () => Uint8Array>> = {
  "level 1": () => gzip({ level: 1 }),
  "level 9": () => gzip({ level: 9 }),
  stored: () => gzip({ level: 0 }),
  "Huffman codes only": () => gzip({ strategy: constants.Z_HUFFMAN_ONLY }),
  "fixed codes": () => gzip({ strategy: constants.Z_FIXED }),
  "small blocks": () => gzip({ memLevel: 1 }),
  "a small window": () => gzip({ windowBits: 9 }),
  "members cut anywhere": () => members(70_001),
  "members cut at headers": () => members(512 * 300),
  "tiny members": () => members(512, 1),
  "a long header": () => withHeader(gzip()),
  "zeros at the end": () => concatenate([gzip(), new Uint8Array(1000)]),
};

interface Slices {
  readonly columns: ChunkColumns;
  readonly layer: Uint8Array;
}

/** The chunk table of the only layer, which `kit` converted. */
async function slicesOf(kit: ConvertKit, blob: string, layer: Uint8Array): Promise<Slices> {
  const meta = Deno.readFileSync(kit.temp.join(`target/blobs/${blob.replace(":", "/")}`));
  const read = (offset: number, length: number) => Promise.resolve(meta.subarray(offset, offset + length));
  const codecs = { decompress, sha256: (bytes: Uint8Array) => Uint8Array.fromHex(sha256(bytes).slice(7)) };
  const bootstrap = await extractBootstrap(read, meta.length, codecs);
  const [described = assert.fail("no blob")] = openBootstrap(bootstrap ?? assert.fail("no bootstrap")).blobs;
  assert.deepEqual([`sha256:${described.id}`, described.compressedSize], [sha256(layer), layer.length]);
  const location = described.meta ?? assert.fail("no compression info");
  const { offset, length } = blobMetaRange(location);
  const { ci, header } = splitBlobMeta(meta.subarray(offset, offset + length), location);
  const plain = decompress(location.compressor, ci, location.uncompressedSize);
  return { columns: parseBlobMeta(described, plain, header), layer };
}

/** Inflates each slice as nydusd does, which fails for one that ends where a member does. */
function requireSlices({ columns, layer }: Slices, fewest: number): void {
  const { gzipStarts: starts = assert.fail("no starts"), batchUncompressedSize } = columns;
  assert.ok(batchUncompressedSize.length >= fewest, `${batchUncompressedSize.length} slices`);
  const last = batchUncompressedSize.map((_, batch) => columns.batch.lastIndexOf(batch));
  assert.ok(last.every((row, k) => row >= 0 && row >= (last[k - 1] ?? 0)), "slices without chunks, or out of order");
  for (const [batch, outLength] of batchUncompressedSize.entries()) {
    const row = last[batch] as number;
    const from = columns.compressedOffset[row] as number;
    const slice = layer.subarray(from, from + (columns.compressedSize[row] as number));
    const windowAt = starts.windowOffset[batch] as number;
    const window = starts.windows.slice(windowAt, windowAt + (starts.windowSize[batch] as number));
    using inflate = Inflate.open();
    inflate.begin(window, starts.bits[batch] as number, starts.bitValue[batch] as number);
    const plain = new Uint8Array(outLength);
    for (let filled = 0, at = 0;;) {
      const { read, written, ended } = inflate.run(slice.subarray(at), plain.subarray(filled));
      filled += written;
      at += read;
      if (!ended) {
        assert.equal(filled, outLength, `slice ${batch}`);
        break;
      }
      assert.ok(filled < outLength, `slice ${batch} ends with its member`);
      at += 18; // trailer and header
      inflate.begin(new Uint8Array(0), 0, 0);
    }
  }
}

Deno.test("a lazy image refers to a gzip layer as it is, whatever it was made by", async (t) => {
  for (const [name, make] of Object.entries(LAYERS)) {
    await t.step(name, async () => {
      using kit = new ConvertKit();
      const stored = make();
      await writeLayout(kit.temp.join("source"), { layers: [{ tar: TAR, stored }] });
      const { platforms } = await kit.convert(kit.named("source"), kit.named("target"), {}, { ociRef: true });
      const [layer = assert.fail("no layer")] = platforms[0]?.layers ?? [];
      assert.equal(layer.refersTo?.digest, sha256(stored));
      assert.ok(layer.blobBytes < stored.length / 2, `${layer.blobBytes} of ${stored.length} bytes`);
      assert.equal((await kit.paths()).length, 108);
      assert.deepEqual(Deno.readFileSync(kit.temp.join(`target/blobs/${sha256(stored).replace(":", "/")}`)), stored);
      requireSlices(await slicesOf(kit, layer.digest, stored), name === "level 1" ? 1 : 3); // which makes large blocks
    });
  }
});

/** A tar of GNU tar with a file that is mostly a hole. */
async function sparseTar(folder: string): Promise<Uint8Array> {
  Deno.mkdirSync(folder);
  Deno.writeFileSync(`${folder}/sparse`, noise(5000));
  Deno.truncateSync(`${folder}/sparse`, 1_000_000);
  const args = ["--create", "--sparse", "--directory", folder, "sparse"];
  return (await new Deno.Command("tar", { args }).output()).stdout;
}

Deno.test("what cannot be referred to is converted within the same image, and the reason is reported", async () => {
  using kit = new ConvertKit();
  const sparse = await sparseTar(kit.temp.join("files"));
  const layers: TestLayer[] = [
    { tar: TAR },
    { tar: tarOf(file("zstd", noise(5000, 2)), whiteout("d/text")), compression: "zstd" },
    { tar: tarOf(file("plain", noise(5000))), compression: "none" },
    { tar: sparse },
    { tar: tarOf(whiteout("d/random")) },
  ];
  await writeLayout(kit.temp.join("source"), { layers });
  const { platforms, digest } = await kit.convert(kit.named("source"), kit.named("target"), {}, { ociRef: true });
  const made = platforms[0]?.layers ?? [];
  assert.deepEqual(made.map(({ unreferable }) => unreferable), [
    undefined,
    "it is zstd, not gzip",
    "it is not compressed",
    "it has a sparse file",
    undefined,
  ]);
  const paths = await kit.paths();
  assert.ok(
    paths.includes("/zstd") && paths.includes("/plain") && paths.includes("/sparse") && paths.includes("/again"),
  );
  assert.ok(!paths.includes("/d/text"));

  const { manifests } = kit.json(digest) as { manifests: { digest: string }[] };
  const [small, full] = manifests.map((entry) => {
    const parsed = parseManifestDocument(new TextEncoder().encode(JSON.stringify(kit.json(entry.digest))), "");
    return parsed.kind === "manifest" ? parsed.manifest.layers : assert.fail("an index");
  });
  assert.deepEqual([small?.length, full?.length], [1, 7]);
  const original = sha256(gzipSync(TAR));
  const ref = (digest: string) => full?.find((layer) => layer.digest === digest)?.annotations ?? {};
  assert.equal(ref(made[0]?.digest ?? "")["containerd.io/snapshot/nydus-ref"], original);
  assert.equal(ref(original)["containerd.io/snapshot/nydus-blob"], "true");
});

Deno.test("a layer that was indexed is not read again, and two conversions are equal", async () => {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: TAR }] });
  const convert = (target: string) => kit.convert(kit.named("source"), kit.named(target), {}, { ociRef: true });
  const first = await convert("target");
  const again = await convert("target");
  assert.deepEqual(again.platforms[0]?.layers.map(({ reused }) => reused), [true]);
  assert.equal(again.digest, first.digest);
  assert.equal((await convert("other")).digest, first.digest);
  const whole = await kit.convert(kit.named("source"), kit.named("target"));
  assert.deepEqual(whole.platforms[0]?.layers.map(({ reused, refersTo }) => [reused, refersTo]), [[false, undefined]]);
});

Deno.test("a damaged layer is refused with one sentence, and no image is written", async () => {
  const stored = gzip();
  const cut = stored.subarray(0, stored.length - 5);
  const flipped = stored.slice();
  flipped[stored.length >> 1] = ~(flipped[stored.length >> 1] as number);
  for (const damaged of [cut, flipped]) {
    using kit = new ConvertKit();
    await writeLayout(kit.temp.join("source"), { layers: [{ tar: TAR, stored: damaged }] });
    await assert.rejects(kit.convert(kit.named("source"), kit.named("target"), {}, { ociRef: true }), (error) => {
      assert.ok(hasCode(error, "invalid-image"), String(error));
      assert.match(
        error.message,
        /^Cannot convert layer sha256:\w+: (its gzip is damaged: cannot inflate: |cannot read tar )/,
      );
      return true;
    });
    assert.throws(() => Deno.statSync(kit.temp.join("target/index.json")), Deno.errors.NotFound);
  }
});
