import { deepEqual, equal, rejects } from "node:assert/strict";
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

Deno.test("without the file, numbers in use are not given", async () => {
  using dir = TempDir.make();
  equal(await (await SnapshotNumbers.open(dir.join("numbers.json"), [7, 3])).take(), 8);
});

Deno.test("a damaged file is refused, as guessing could give a number again", async () => {
  using dir = TempDir.make();
  for (const text of ["{", "{}", '{"next": 0}', '{"next": 1.5}']) {
    await Deno.writeTextFile(dir.join("n.json"), text);
    await rejects(SnapshotNumbers.open(dir.join("n.json"), []), { code: "corrupt" }, text);
  }
});
