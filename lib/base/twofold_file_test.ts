import assert from "node:assert/strict";
import * as v from "valibot";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { TwofoldFile } from "./twofold_file.ts";

const Schema = v.object({ home: v.string() });
const DAMAGES = ["", '{"ho', "[]", "\0".repeat(9)];

function fileIn(dir: TempDir): TwofoldFile<typeof Schema> {
  return new TwofoldFile(dir.join("state.json"), Schema, "start again");
}

Deno.test("either of the two files is enough, however the other one is lost", async () => {
  using dir = TempDir.make();
  const file = fileIn(dir);
  assert.equal(await file.read(), undefined);
  for (const name of ["state.json", "state.json.copy"]) {
    for (const damage of [undefined, ...DAMAGES]) {
      await file.write({ home: "/h" });
      if (damage === undefined) Deno.removeSync(dir.join(name));
      else Deno.writeTextFileSync(dir.join(name), damage);
      assert.deepEqual(await file.read(), { home: "/h" }, `${name}: ${damage}`);
      await file.mend({ home: "/h" });
      assert.equal(Deno.readTextFileSync(dir.join(name)), '{"home":"/h"}\n');
    }
  }
});

Deno.test("a copy that is older does not count", async () => {
  using dir = TempDir.make();
  const file = fileIn(dir);
  await file.write({ home: "/old" });
  Deno.writeTextFileSync(dir.join("state.json"), '{"home":"/new"}');
  assert.deepEqual(await file.read(), { home: "/new" });
});

Deno.test("if both are damaged, or one of them and the other is missing, the error names both", async () => {
  using dir = TempDir.make();
  const [path, copy] = [dir.join("state.json"), dir.join("state.json.copy")];
  Deno.writeTextFileSync(copy, "{");
  const refused = { code: "corrupt", hint: `rm -f "${path}" "${copy}", then start again` };
  await assert.rejects(fileIn(dir).read(), { ...refused, message: `Cannot read "${path}": it is missing` });
  Deno.writeTextFileSync(path, "[]");
  await assert.rejects(fileIn(dir).read(), refused);
});

Deno.test("what is in the place of the copy is in nobody's way as long as the file is whole", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  const file = fileIn(dir);
  await file.write({ home: "/h" });
  Deno.removeSync(dir.join("state.json.copy"));
  Deno.mkdirSync(dir.join("state.json.copy"));
  assert.deepEqual(await file.read(), { home: "/h" });
  await file.mend({ home: "/h" });
  Deno.removeSync(dir.join("state.json"));
  await assert.rejects(file.read(), {
    code: "io",
    hint: `mv ${dir.join("state.json.copy")} ${dir.join("state.json.copy.aside")}`,
  });
});
