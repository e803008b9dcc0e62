/**
 * Layers in other lazy formats, and layers compressed in independent pieces, are converted like ordinary ones.
 *
 * @module
 */
import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { ConvertKit, noise } from "../../../../tests/support/image/convert_kit.ts";
import { dir, file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";
import { writeLayout } from "../../../../tests/support/image/layout_builder.ts";
import { concatenate, fromByteString } from "../../../base/bytes.ts";
import { hasCode } from "../../../base/errors.ts";

const TOC = "stargz.index.json";
const TAR = tarOf(dir("d"), file("d/a", noise(70_000)), file(".no.prefetch.landmark", "\x0f"), file("d/b", "text"));
const WITH_TOC = tarOf(dir("d"), file("d/a", noise(70_000)), file("d/b", "text"), file(TOC, '{"version":1}'));

/** The tar, split at block boundaries. */
function pieces(tar: Uint8Array): Uint8Array[] {
  return [0, 512, 1024, 71_680].map((start, k, starts) => tar.subarray(start, starts[k + 1]));
}

/** The last member of an eStargz layer: empty, with the offset of the table of contents in its header. */
function stargzFooter(tocOffset: number): Uint8Array {
  const text = new TextEncoder().encode(`SG\x16\0${tocOffset.toString(16).padStart(16, "0")}STARGZ`);
  const header = Uint8Array.of(0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, text.length, 0);
  return concatenate([header, text, Uint8Array.of(1, 0, 0, 0xff, 0xff), new Uint8Array(8)]);
}

/** A frame that decompressors skip. */
function skippableFrame(text: string): Uint8Array {
  const content = new TextEncoder().encode(text);
  const header = new DataView(new ArrayBuffer(8));
  header.setUint32(0, 0x184d2a50, true);
  header.setUint32(4, content.length, true);
  return concatenate([new Uint8Array(header.buffer), content]);
}

Deno.test("an eStargz layer keeps its files and the table of contents, as when it is unpacked", async () => {
  const members = concatenate(pieces(WITH_TOC).map((piece) => gzipSync(piece)));
  const stored = concatenate([members, stargzFooter(members.length)]);
  using kit = new ConvertKit();
  await kit.convertLayers({ tar: WITH_TOC, stored });
  assert.deepEqual(await kit.paths(), ["/", "/d", "/d/a", "/d/b", `/${TOC}`]);
});

Deno.test("a zstd layer may have many frames, also skippable ones, as zstd:chunked and pzstd write them", async () => {
  const frames = pieces(TAR).map((piece) => zstdCompressSync(piece));
  const chunked = [...frames, skippableFrame('{"version":1}'), skippableFrame("GNUlInUx")];
  for (const stored of [chunked, frames.flatMap((frame) => [skippableFrame("size"), frame])]) {
    using kit = new ConvertKit();
    await kit.convertLayers({ tar: TAR, compression: "zstd", stored: concatenate(stored) });
    assert.deepEqual(await kit.paths(), ["/", "/.no.prefetch.landmark", "/d", "/d/a", "/d/b"]);
  }
});

Deno.test("padding after the compressed data is not part of the layer", async () => {
  using kit = new ConvertKit();
  await kit.convertLayers({ tar: TAR, stored: concatenate([gzipSync(TAR), new Uint8Array(512)]) });
  assert.deepEqual(await kit.paths(), ["/", "/.no.prefetch.landmark", "/d", "/d/a", "/d/b"]);
});

Deno.test("what follows a gzip member, and is neither padding nor a member, is damage, as for Docker", async () => {
  for (const rest of ["garbage", "\x1f", "\x1f\x8b\x08garbage"]) {
    using kit = new ConvertKit();
    const stored = concatenate([gzipSync(TAR), fromByteString(rest)]);
    await writeLayout(kit.temp.join("source"), { layers: [{ tar: TAR, stored }] });
    for (const options of [{}, { withOci: true, ociRef: true }]) {
      await assert.rejects(
        kit.convert(kit.named("source"), kit.named("target"), {}, options),
        (error) => hasCode(error, "invalid-image") && /: its gzip is damaged: /.test(String(error)),
        `${rest} ${JSON.stringify(options)}`,
      );
    }
  }
});

Deno.test("a layer or an archive in a compression that images do not have is unsupported by its name", async () => {
  for (
    const [name, head] of [["bzip2", "BZh91AY&SY"], ["xz", "\xfd7zXZ\0\0\x04"]] as const
  ) {
    using kit = new ConvertKit();
    const stored = fromByteString(head.padEnd(600, "\0"));
    const state = `: its compression is ${name}, expected gzip or zstd`;
    const isNamed = (error: unknown) => hasCode(error, "unsupported") && String(error).endsWith(state);
    await assert.rejects(kit.convertLayers({ tar: TAR, stored }), isNamed);
    await Deno.writeFile(kit.temp.join("files.tar"), stored);
    await assert.rejects(kit.convert(`tar:${kit.temp.join("files.tar")}`, kit.named("target")), isNamed);
  }
});

Deno.test("a layer truncated within its compressed data is damaged, wherever it is cut", async () => {
  using kit = new ConvertKit();
  for (const [compression, whole] of [["gzip", gzipSync(TAR)], ["zstd", zstdCompressSync(TAR)]] as const) {
    for (const cut of [whole.length - 1, whole.length >> 1, 20]) {
      await assert.rejects(
        () => kit.convertLayers({ tar: TAR, compression, stored: whole.subarray(0, cut) }),
        /^NydusGdError: Cannot convert layer sha256:\w+: (its (gzip|zstd) is damaged: |its digest |cannot read tar )/,
        `${compression} cut at ${cut}`,
      );
    }
  }
});

Deno.test("a zstd layer whose window is too large for us is unsupported, not damaged", async () => {
  const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3, 0x21, 0, 0, 1, 2, 3, 4); // a window of 1 GiB
  using kit = new ConvertKit();
  await assert.rejects(
    kit.convertLayers({ tar: TAR, compression: "zstd", stored: frame }),
    (error) => hasCode(error, "unsupported") && /its zstd is of an unsupported kind: /.test(String(error)),
  );
});
