import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { clearProbes, probePath } from "./probe_places.ts";

Deno.test("the probes of a killed process are removed, and nothing else", async () => {
  using temp = TempDir.make();
  const [folder, device] = [probePath(temp.path), probePath(temp.path)];
  Deno.mkdirSync(`${folder}/mnt`, { recursive: true });
  Deno.writeTextFileSync(`${folder}/image`, "");
  Deno.writeTextFileSync(device, "");
  Deno.writeTextFileSync(temp.join("keeper.json"), "{}");
  await clearProbes(temp.path, temp.path);
  assert.deepEqual([...Deno.readDirSync(temp.path)].map(({ name }) => name), ["keeper.json"]);
});
