import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { SnapshotNumbers } from "./snapshot_numbers.ts";

Deno.test("numbers start at 1, and none is given twice, whenever the process ends", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const given = new Set<number>();
  for (let start = 0; start < 3; start++) {
    const numbers = await SnapshotNumbers.open(path, []);
    const taken = await Promise.all(Array.from({ length: 100 }, () => numbers.take()));
    if (start === 0) deepEqual(taken.slice(0, 3), [1, 2, 3]);
    for (const number of taken) equal(given.size, given.add(number).size - 1, `${number} was given before`);
  }
});

Deno.test("where the file is lost or damaged, numbers continue above all that may have been given", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  for (const text of [undefined, "", "{", "{}", '{"next": 0}', '{"next": 1.5}']) {
    const before = Date.now();
    if (text !== undefined) await Deno.writeTextFile(path, text);
    const numbers = await SnapshotNumbers.open(path, [7, 3]);
    const taken = await Promise.all(Array.from({ length: 100 }, () => numbers.take()));
    equal(new Set(taken).size, 100);
    ok(taken.every((number) => number >= before), `${text}`);
    const next = await (await SnapshotNumbers.open(path, [7, 3])).take();
    ok(taken.every((number) => number < next), "they are on disk");
  }
});

Deno.test("numbers continue above all that are in use, and above the time at which the file was written", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  const far = 2 ** 50;
  equal(await (await SnapshotNumbers.open(path, [far, 3])).take(), far + 1);
  await Deno.writeTextFile(path, "{");
  const later = Date.now() + 1e9;
  await Deno.utime(path, later / 1000, later / 1000);
  ok(await (await SnapshotNumbers.open(path, [3])).take() >= later);
});

Deno.test("what is not a file is refused, and the error says how to go on", async () => {
  using dir = TempDir.make();
  const path = dir.join("numbers.json");
  await Deno.mkdir(path);
  await rejects(SnapshotNumbers.open(path, []), { code: "io", hint: `mv ${path} ${path}.aside` });
});
