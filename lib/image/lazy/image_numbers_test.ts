import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { ImageNumbers } from "./image_numbers.ts";

Deno.test("an image keeps its number, also after a restart", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const numbers = await ImageNumbers.open(path);
  assert.equal(await numbers.of("a"), 1);
  assert.equal(await numbers.of("b"), 2);
  assert.equal(await numbers.of("a"), 1);
  const again = await ImageNumbers.open(path);
  assert.equal(await again.of("b"), 2);
  assert.equal(await again.of("c"), 3);
});

Deno.test("the number of a forgotten image is never reused, not even after a restart", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const numbers = await ImageNumbers.open(path);
  await numbers.of("a");
  await numbers.forget("a");
  await numbers.forget("never seen");
  assert.equal(await numbers.of("a"), 2);
  await numbers.forget("a");
  assert.equal(await (await ImageNumbers.open(path)).of("b"), 3);
});

Deno.test("numbers requested concurrently are distinct, and all on disk", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const numbers = await ImageNumbers.open(path);
  const names = Array.from({ length: 30 }, (_, k) => `image-${k % 15}`);
  const given = await Promise.all(names.map((name) => numbers.of(name)));
  assert.equal(new Set(given).size, 15);
  const again = await ImageNumbers.open(path);
  assert.deepEqual(await Promise.all(names.map((name) => again.of(name))), given);
});

Deno.test("names of Object.prototype are handled like any other name", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const numbers = await ImageNumbers.open(path);
  assert.equal(await numbers.of("constructor"), 1);
  assert.equal(await (await ImageNumbers.open(path)).of("constructor"), 1);
});

Deno.test("a number whose write failed is neither returned nor reused", async () => {
  using dir = TempDir.make();
  const folder = dir.join("state");
  const numbers = await ImageNumbers.open(`${folder}/numbers.json`);
  await assert.rejects(numbers.of("a"), /ENOENT/);
  await Deno.mkdir(folder);
  assert.equal(await numbers.of("a"), 2);
  assert.equal(await (await ImageNumbers.open(`${folder}/numbers.json`)).of("a"), 2);
});

Deno.test("a damaged or contradictory file is refused", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  for (
    const text of [
      "",
      '{"next":3,"numbers":[["a",1',
      '{"next":"3","numbers":[]}',
      '{"numbers":[["a",1]]}',
      '{"next":2,"numbers":[["a",2]]}',
      '{"next":3,"numbers":[["a",1],["b",1]]}',
      '{"next":3,"numbers":[["a",0]]}',
      '{"next":3,"numbers":[["a",1],["a",2]]}',
    ]
  ) {
    await Deno.writeTextFile(path, text);
    await assert.rejects(
      ImageNumbers.open(path),
      (error) => hasCode(error, "io") && error.message.includes(path),
      text,
    );
  }
});
