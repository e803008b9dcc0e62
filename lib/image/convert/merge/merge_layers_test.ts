/**
 * Merging damaged layers, or layers whose claims exceed their size, ends in a readable image or in a NydusGdError.
 *
 * @module
 */
import assert from "node:assert/strict";
import { buildFrom } from "../../../../tests/support/rafs/built_rafs.ts";
import { noise } from "../../../../tests/support/image/convert_kit.ts";
import {
  dir,
  file,
  hardlink,
  opaque,
  symlink,
  tarOf,
  whiteout,
  xattrs,
} from "../../../../tests/support/archive/tar_builder.ts";
import { hasCode } from "../../../base/errors.ts";
import { prepareDigests } from "../../../blob/codec/codec.ts";
import { RafsError } from "../../../rafs/bootstrap.ts";
import { openBootstrap } from "../../../rafs/open.ts";
import { fileExtents, walkTree } from "../../../rafs/walk.ts";
import { S_IFMT, S_IFREG } from "../../../rafs/format/inode_mode.ts";
import { INLINE } from "../chunks/compress_pool.ts";
import { buildLayer, fromTar } from "../layer/build_layer.ts";
import { mergeLayers } from "./merge_layers.ts";
import { rafsOptions } from "../format/rafs_options.ts";

const CHUNK = 4096;
const ID = "a".repeat(64);

const LOWER = tarOf(
  dir("d", { mode: 0o700 }),
  file("d/a", noise(3 * CHUNK + 5), xattrs({ "user.a": "value" })),
  file("d/gone", "1"),
  symlink("d/link", "a"),
  hardlink("d/same", "d/a"),
);
const UPPER = tarOf(dir("d"), whiteout("d/gone"), dir("e"), opaque("e"), file("e/b", noise(CHUNK, 5)));

const optionsOf = (fsVersion: 5 | 6) => rafsOptions({ fsVersion, chunkSize: CHUNK, compressor: "none" });

/** The layer's own bootstrap. */
async function layerOf(tar: Uint8Array, fsVersion: 5 | 6): Promise<Uint8Array<ArrayBuffer>> {
  const rafs = optionsOf(fsVersion);
  const { bootstrap } = await buildLayer(fromTar([tar]), { rafs, compressor: INLINE, write: () => {} });
  return bootstrap;
}

/** Merges layers and reads the result to the last name and chunk; undefined if the layers are refused. */
function merged(layers: readonly Uint8Array<ArrayBuffer>[], fsVersion: 5 | 6): number | undefined {
  try {
    const trees = layers.map((bytes, k) => ({ tree: openBootstrap(bytes), blobId: `${k}${ID.slice(1)}` }));
    const { bootstrap } = mergeLayers(
      trees.map((layer) => ({ ...layer, what: "layer", hasWhiteouts: true })),
      optionsOf(fsVersion),
    );
    const tree = openBootstrap(bootstrap.whole());
    let names = 0;
    for (const { ino, attr } of walkTree(tree)) {
      names++;
      if ((attr.mode & S_IFMT) === S_IFREG) { for (const _ of fileExtents(tree, ino, attr.size)); }
    }
    return names;
  } catch (error) {
    if (error instanceof RafsError || hasCode(error, "invalid-image", "unsupported")) return undefined;
    throw error;
  }
}

for (const fsVersion of [5, 6] as const) {
  Deno.test(`RAFS v${fsVersion}: any changed word of a layer is refused by merging, or harmless`, async () => {
    await prepareDigests();
    const [lower, upper] = [await layerOf(LOWER, fsVersion), await layerOf(UPPER, fsVersion)];
    assert.equal(merged([lower, upper], fsVersion), 7);
    let refused = 0, tried = 0;
    for (const damaged of [lower, upper]) {
      for (let at = 0; at + 4 <= damaged.length; at += 4) {
        const view = new DataView(damaged.buffer, damaged.byteOffset);
        const before = view.getUint32(at, true);
        // blocks of zeros carry no information
        if (before === 0 && at % 64 !== 0) continue;
        for (const value of [0, 1, before + 1, before - 1, 0x7fff_ffff, 0xffff_ffff]) {
          view.setUint32(at, value >>> 0, true);
          tried++;
          if (merged([lower, upper], fsVersion) === undefined) refused++;
        }
        view.setUint32(at, before, true);
      }
    }
    assert.ok(refused > tried / 10, `${refused} of ${tried} refused`);
  });

  Deno.test(`RAFS v${fsVersion}: a truncated layer is refused by merging`, async () => {
    await prepareDigests();
    const layer = await layerOf(LOWER, fsVersion);
    for (let length = 0; length < layer.length - CHUNK; length += 509) {
      assert.equal(merged([layer.slice(0, length)], fsVersion), undefined, `${length} bytes`);
    }
  });
}

Deno.test("a path of PATH_MAX is merged, a longer one is refused by name, even if a link shortens it", async () => {
  const folders = "f".repeat(254).concat("/").repeat(15) + "g".repeat(200);
  assert.equal(folders.length, 4025);
  const at = async (name: string) => {
    const { bootstrap } = await buildFrom(tarOf(dir(folders), symlink("s", folders), file(`s/${name}`, "1")));
    return Array.from(walkTree(bootstrap)).length;
  };
  assert.equal(await at("n".repeat(69)), 19);
  await assert.rejects(
    () => at("n".repeat(70)),
    /^NydusGdError: Cannot convert "n+": its path has 4096 bytes, at most 4095$/,
  );
});
