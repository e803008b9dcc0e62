/**
 * Conversions from every form of source to every form of target, and differences that must not affect the result.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ConvertKit, noise } from "../support/image/convert_kit.ts";
import { DockerRegistry, dockerRegistryMissing } from "../support/backend/docker_registry.ts";
import { type TestImage, writeLayout } from "../support/image/layout_builder.ts";
import { dir, file, symlink, tarOf } from "../support/archive/tar_builder.ts";
import { pushImage } from "../../lib/demo/push_image.ts";
import { buildImage } from "../../lib/image/build/image_builder.ts";
import { prepareDigests } from "../../lib/blob/codec/codec.ts";
import { CompressPool, INLINE, type ParcelCompressor } from "../../lib/image/convert/chunks/compress_pool.ts";
import { convertTree } from "../../lib/image/convert/convert_tree.ts";
import { fromTar } from "../../lib/image/convert/layer/build_layer.ts";
import { rafsOptions } from "../../lib/image/convert/format/rafs_options.ts";

const LOWER = tarOf(dir("d"), file("d/a", noise(10_000)), symlink("s", "d"));
const UPPER = tarOf(file("d/.wh.a", ""), file("top", noise(5000, 2)));
const IMAGE: TestImage = { layers: [{ tar: LOWER }, { tar: UPPER }] };
const NAMES = ["/", "/d", "/s", "/top"];

async function packed(kit: ConvertKit, folder: string, name: string): Promise<string> {
  const args = ["--create", "--file", kit.temp.join(name), "--directory", kit.temp.join(folder), "."];
  assert.ok((await new Deno.Command("tar", { args }).output()).success);
  return `tar:${kit.temp.join(name)}`;
}

Deno.test("every platform of an index is converted, each with its own two manifests", async () => {
  using kit = new ConvertKit();
  const others = ["arm64", "riscv64"].map((architecture) => ({ ...IMAGE, architecture }));
  await writeLayout(kit.temp.join("source"), IMAGE, ...others);
  const { platforms, digest } = await kit.convert(kit.named("source"), kit.named("target"));
  assert.deepEqual(platforms.map(({ platform }) => platform), ["linux/amd64", "linux/arm64", "linux/riscv64"]);
  const { manifests } = kit.json(digest) as { manifests: { platform: { architecture: string } }[] };
  assert.deepEqual(
    manifests.map(({ platform }) => platform.architecture),
    ["amd64", "amd64", "arm64", "arm64", "riscv64", "riscv64"],
  );
});

Deno.test({
  name: "an image is the same whatever its source and target",
  ignore: dockerRegistryMissing !== undefined,
  fn: async () => {
    using kit = new ConvertKit();
    await using registry = await DockerRegistry.start();
    await writeLayout(kit.temp.join("source"), IMAGE);
    const archive = await packed(kit, "source", "source.tar");
    const image = await buildImage([LOWER, UPPER], { architecture: "amd64" });
    await pushImage({ host: registry.host, repository: "ordinary", tag: "1" }, image);
    const blobs = new Set<string>();
    for (const [k, source] of [kit.named("source"), archive, `${registry.host}/ordinary:1`].entries()) {
      for (const target of [kit.named(`to-${k}`), `tar:${kit.temp.join(`to-${k}.tar`)}`, `${registry.host}/to:${k}`]) {
        const { platforms } = await kit.convert(source, target);
        assert.deepEqual(await kit.paths(target), NAMES, `${source} to ${target}`);
        blobs.add(JSON.stringify(platforms[0]?.layers.map(({ digest }) => digest)));
      }
    }
    assert.equal(blobs.size, 1);
  },
});

Deno.test("a folder and its tar yield the same blob, whatever the target", async () => {
  using kit = new ConvertKit();
  const tree = kit.temp.join("tree");
  Deno.mkdirSync(`${tree}/d`, { recursive: true });
  Deno.writeFileSync(`${tree}/d/a`, noise(10_000));
  Deno.writeFileSync(`${tree}/top`, noise(5000, 2));
  const args = ["--format=posix", "--sort=name", "-cf", kit.temp.join("tree.tar"), "--directory", tree, "."];
  assert.ok((await new Deno.Command("tar", { args }).output()).success);
  const blobs = new Set<string>();
  for (const [k, source] of [`dir:${tree}`, `tar:${kit.temp.join("tree.tar")}`].entries()) {
    for (const target of [kit.named(`to-${k}`), `tar:${kit.temp.join(`to-${k}.tar`)}`]) {
      const { platforms } = await kit.convert(source, target);
      assert.deepEqual(await kit.paths(target), ["/", "/d", "/d/a", "/top"]);
      blobs.add(platforms[0]?.layers[0]?.digest ?? "none");
    }
  }
  assert.equal(blobs.size, 1);
});

Deno.test("any number of Workers, or none, yields the same bytes", async () => {
  const contents = Array.from({ length: 300 }, (_, k) => noise(k % 7 === 0 ? 100_000 : 700, k));
  const named = (prefix: string) => contents.map((content, k) => file(`${prefix}${k}`, content));
  const tar = tarOf(...named("f"), ...named("again"));
  for (const fsVersion of [5, 6] as const) {
    const rafs = rafsOptions({ fsVersion, chunkSize: 0x10000, batchSize: fsVersion === 6 ? 0x4000 : 0 });
    await prepareDigests(rafs.digester);
    const made = async (compressor: ParcelCompressor) => {
      const { blobId, bootstrap } = await convertTree(fromTar([tar]), { rafs, compressor, write: () => {} });
      return `${blobId} ${bootstrap.toHex()}`;
    };
    const expected = await made(INLINE);
    for (const workers of [1, 2, 5]) {
      using pool = new CompressPool(workers);
      assert.equal(await made(pool), expected, `RAFS v${fsVersion}, ${workers} Workers`);
    }
  }
});
