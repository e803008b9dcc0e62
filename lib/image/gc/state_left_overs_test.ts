import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import type { LazyLayer } from "../../layer/lazy/lazy_images.ts";
import { stateLeftOvers } from "./state_left_overs.ts";

const layer = (id: string, hex: string): LazyLayer => ({
  id,
  bootstrapPath: "/nowhere",
  home: "/nowhere",
  diffId: `sha256:${hex.repeat(64)}`,
});

Deno.test("state of removed layers is left over after an hour, temporary files as well", async () => {
  using dir = TempDir.make();
  const files = [
    "image-numbers.json",
    "image-numbers.json.tmp",
    "gone.erofs",
    "present.erofs",
    "present.erofs.tmp",
    "homes/present.json",
    "homes/gone.json",
    "homes/present.json.tmp",
    `pulled/${"a".repeat(64)}.json`,
    `pulled/${"b".repeat(64)}.json`,
  ];
  for (const folder of ["homes", "pulled"]) await Deno.mkdir(dir.join(folder));
  for (const name of files) await Deno.writeTextFile(dir.join(name), "{}");
  const layers = [layer("present", "a")];
  const found = async (known: LazyLayer[] | undefined) =>
    (await stateLeftOvers(dir.path, known)).map(({ path }) => path.slice(dir.path.length + 1)).sort();
  assert.deepEqual(await found(layers), []);
  const before = Date.now() / 1000 - 3601;
  for (const name of files) await Deno.utime(dir.join(name), before, before);
  const aside = ["homes/present.json.tmp", "image-numbers.json.tmp", "present.erofs.tmp"];
  assert.deepEqual(await found(layers), ["gone.erofs", "homes/gone.json", ...aside, `pulled/${"b".repeat(64)}.json`]);
  assert.deepEqual(await found(undefined), aside);
  assert.deepEqual(await stateLeftOvers(dir.join("nothing"), layers), []);
});
