import assert from "node:assert/strict";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { LayerCache } from "./layer_cache.ts";

const BLOB = { blobId: "a".repeat(64), blobBytes: 5 };
const place = (name: string | number) => ({ registry: "r", repository: `${name}` });

Deno.test("a record keeps the repositories that got the blob last, each once, the latest first", async () => {
  using temp = TempDir.make();
  const cache = new LayerCache(temp.join("records"));
  assert.equal(await cache.find("key"), undefined);
  for (const name of ["a", "b", "a", "a"]) await cache.record("key", BLOB, place(name));
  assert.deepEqual(await cache.find("key"), { ...BLOB, places: [place("a"), place("b")] });
  for (let k = 0; k < 20; k++) await cache.record("key", BLOB, place(k));
  const { places = [] } = await cache.find("key") ?? {};
  assert.deepEqual(places, Array.from({ length: 8 }, (_, k) => place(19 - k)));
});

Deno.test("a layout adds no place, and another blob of the same layer has none of the former's", async () => {
  using temp = TempDir.make();
  const cache = new LayerCache(temp.join("records"));
  await cache.record("key", BLOB, place("a"));
  await cache.record("key", BLOB, undefined);
  assert.deepEqual(await cache.find("key"), { ...BLOB, places: [place("a")] });
  const other = { ...BLOB, blobId: "b".repeat(64) };
  await cache.record("key", other, undefined);
  assert.deepEqual(await cache.find("key"), { ...other, places: [] });
});
