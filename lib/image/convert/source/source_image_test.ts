/**
 * Which manifests of a name are images to convert.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ConvertKit } from "../../../../tests/support/image/convert_kit.ts";
import { type TestImage, writeLayout } from "../../../../tests/support/image/layout_builder.ts";
import { file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";

const IMAGE: TestImage = { layers: [{ tar: tarOf(file("a", "x")) }] };
const WINDOWS: TestImage = {
  ...{ os: "windows", architecture: "amd64" },
  layers: [{ tar: tarOf(), mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }],
};
const CHART: TestImage = { ...IMAGE, configType: "application/vnd.cncf.helm.config.v1+json" };

async function convert(...images: readonly TestImage[]): Promise<string[]> {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), ...images);
  const { platforms } = await kit.convert(kit.named("source"), kit.named("target"));
  return platforms.map(({ platform }) => platform);
}

Deno.test("an image for another system, of which only its configuration tells, is none to convert", async () => {
  await assert.rejects(convert(WINDOWS), {
    message: /: it has no image for Linux$/,
    hint: "it has one for windows/amd64",
  });
  assert.deepEqual(await convert(WINDOWS, IMAGE), ["linux/amd64"]);
});

Deno.test("a manifest with a configuration of another kind than images have is no image", async () => {
  await assert.rejects(convert(CHART), /: it is not an image, but "application\/vnd.cncf.helm.config.v1\+json"$/);
  assert.deepEqual(await convert(CHART, IMAGE), ["linux/amd64"]);
  for (const configType of ["application/octet-stream", "application/vnd.docker.container.image.v1+json"]) {
    assert.deepEqual(await convert({ ...IMAGE, configType }), ["linux/amd64"], configType);
  }
});
