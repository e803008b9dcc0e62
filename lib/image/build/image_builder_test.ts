import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { concatenate } from "../../base/bytes.ts";
import { RafsError } from "../../rafs/bootstrap.ts";
import { ORDINARY_MEMORY } from "../../rafs/memory/image_memory.ts";
import { SequentialImage } from "../../rafs/memory/sequential_image.ts";
import { packHere } from "./gzip_blocks.ts";
import { bootstrapLayerPieces, bootstrapLayerTar, digestOf, packedLayer } from "./image_builder.ts";

const IMAGE = Uint8Array.from({ length: 300_000 }, (_, k) => k * k >> 8);

/** An image whose bytes appear 1000 at a time. */
function slowly(bytes: Uint8Array, failsAt = Infinity): SequentialImage {
  const image = new Uint8Array(bytes.length);
  return new SequentialImage(
    image,
    (function* () {
      for (let at = 0; at < image.length; at += 1000) {
        if (at >= failsAt) throw new RafsError("Cannot write it");
        image.set(bytes.subarray(at, at + 1000), at);
        yield Math.min(image.length, at + 1000);
      }
    })(),
  );
}

Deno.test("a layer is packed with the same bytes while its bootstrap is written", async () => {
  const whole = await packedLayer(bootstrapLayerPieces(IMAGE), ORDINARY_MEMORY, packHere);
  assert.deepEqual(await packedLayer(bootstrapLayerPieces(slowly(IMAGE)), ORDINARY_MEMORY, packHere), whole);
  const tar = bootstrapLayerTar(IMAGE);
  assert.deepEqual(new Uint8Array(gunzipSync(concatenate([whole.layer.bytes]))), tar);
  assert.equal(whole.diffId, digestOf(tar));
});

Deno.test("an error in writing the bootstrap is the error of packing it", async () => {
  for (const failsAt of [0, 150_000, 299_000]) {
    await assert.rejects(
      () => packedLayer(bootstrapLayerPieces(slowly(IMAGE, failsAt)), ORDINARY_MEMORY, packHere),
      /^RafsError: Cannot write it$/,
    );
  }
});
