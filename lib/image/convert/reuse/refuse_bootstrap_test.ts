import assert from "node:assert/strict";
import { ConvertKit } from "../../../../tests/support/image/convert_kit.ts";
import { writeLayout } from "../../../../tests/support/image/layout_builder.ts";
import { dir, file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";

const BOOTSTRAP = [dir("image"), file("image/image.boot", "b"), file("image/nydus-gd.json", "{}")];
const ABOVE = { tar: tarOf(file("top", "1")) };

Deno.test("an image on a lazy one that has lost its annotations is refused before anything is written", async () => {
  for (const bootstrap of [BOOTSTRAP, [file("image.boot", "b")]]) {
    using kit = new ConvertKit();
    await writeLayout(kit.temp.join("source"), { layers: [{ tar: tarOf(...bootstrap) }, ABOVE] });
    await assert.rejects(() => kit.convert(kit.named("source"), kit.named("target")), {
      code: "unsupported",
      message: /^Cannot convert layer sha256:\w+: it is the bootstrap of a lazy image$/,
    });
  }
});

Deno.test("a layer with a file named as a bootstrap among others is an ordinary one", async () => {
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: tarOf(...BOOTSTRAP, file("top", "1")) }, ABOVE] });
  await kit.convert(kit.named("source"), kit.named("target"));
  assert.deepEqual(await kit.paths(), ["/", "/image", "/image/image.boot", "/image/nydus-gd.json", "/top"]);
});
