import assert from "node:assert/strict";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { quietLogs } from "../../../../tests/support/quiet_logs.ts";
import { checkImageNumber } from "../../../mount/fuse/node_id.ts";
import { ignore } from "../../../base/errors.ts";
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

/** Damaged or contradictory files; undefined: none. */
const DAMAGED = [
  undefined,
  "",
  '{"next":3,"numbers":[["a",1',
  '{"next":"3","numbers":[]}',
  '{"numbers":[["a",1]]}',
  '{"next":2,"numbers":[["a",2]]}',
  '{"next":3,"numbers":[["a",1],["b",1]]}',
  '{"next":3,"numbers":[["a",0]]}',
  '{"next":3,"numbers":[["a",1],["a",2]]}',
  '{"next":2,"numbers":[["a",1]]}', // and b has 2
];

Deno.test("where the file is lost or damaged, mounted images keep their numbers, and others get new ones", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const given = new Set<number>();
  for (const text of DAMAGED) {
    for (const file of [path, `${path}.copy`]) {
      await ignore(Deno.errors.NotFound, Deno.remove(file));
      if (text !== undefined) await Deno.writeTextFile(file, text);
    }
    const numbers = await ImageNumbers.open(path, new Map([["a", 1], ["b", 2]]));
    assert.deepEqual([await numbers.of("a"), await numbers.of("b")], [1, 2], `${text}`);
    const next = await numbers.of("c");
    assert.ok(next > 2 ** 22, `${text}`);
    checkImageNumber(next);
    const again = await ImageNumbers.open(path, new Map([["a", 1], ["b", 2]]));
    assert.deepEqual([await again.of("a"), await again.of("c"), await again.of("d")], [1, next, next + 1]);
    given.add(next);
  }
});

Deno.test("where the file is lost or damaged, its copy tells, and no number is given twice", async () => {
  await using _quiet = await quietLogs();
  for (const text of DAMAGED) {
    using dir = TempDir.make();
    const path = dir.join("numbers.json");
    const before = await ImageNumbers.open(path);
    assert.deepEqual([await before.of("a"), await before.of("b"), await before.of("gone")], [1, 2, 3]);
    await before.forget("gone");
    const older = await Deno.readTextFile(`${path}.copy`);
    assert.equal(await before.of("c"), 4);
    for (const copy of [undefined, older]) { // the process was killed before it wrote the copy
      if (copy !== undefined) await Deno.writeTextFile(`${path}.copy`, copy);
      if (text !== undefined) await Deno.writeTextFile(path, text);
      else await Deno.remove(path);
      const numbers = await ImageNumbers.open(path, new Map());
      assert.deepEqual([numbers.has("a"), await numbers.of("a"), await numbers.of("b")], [true, 1, 2], `${text}`);
      assert.ok(await numbers.of(`new ${copy}`) > 4, `${text}`);
    }
  }
});

Deno.test("what is in the place of the copy is in nobody's way", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  await Deno.mkdir(`${path}.copy`);
  assert.equal(await (await ImageNumbers.open(path)).of("a"), 1);
  assert.equal(await (await ImageNumbers.open(path)).of("b"), 2);
});

Deno.test("a number that was given after a loss is not given after another one", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  await Deno.writeTextFile(path, "{");
  const first = await (await ImageNumbers.open(path, new Map())).of("a");
  await Deno.remove(`${path}.copy`);
  await Deno.writeTextFile(path, "{");
  await Deno.utime(path, Date.now() / 1000 + 3600, Date.now() / 1000 + 3600);
  assert.ok(await (await ImageNumbers.open(path, new Map())).of("b") > first);
  await Deno.remove(`${path}.copy`);
  await Deno.writeTextFile(path, "{");
  assert.equal(await (await ImageNumbers.open(path, new Map([["far", first + 1000]]))).of("b"), first + 1001);
});

Deno.test("what is not a file is refused, and the error says how to go on", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  await Deno.mkdir(path);
  await assert.rejects(ImageNumbers.open(path), { code: "io", hint: `mv ${path} ${path}.aside` });
});
