import assert from "node:assert/strict";
import { TempDir } from "../support/temp_dir.ts";

const SUPPORT = new URL("../support/temp_dir.ts", import.meta.url).href;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/** A test that fails, and fails again during its cleanup. */
const FAILING = `
import { TempDir } from "${SUPPORT}";
Deno.test("fails twice", () => {
  using temp = TempDir.make();
  using _used = { [Symbol.dispose]() { throw new Error("the clean-up, in " + temp.path); } };
  throw new Error("the test itself");
});
`;

Deno.test("the runner reports both the failure of a test and that of its cleanup", async () => {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("failing_test.ts"), FAILING);
  const args = ["test", "-A", "--no-check", "--config", CONFIG, temp.join("failing_test.ts")];
  const { code, stdout } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
  assert.equal(code, 1);
  const text = new TextDecoder().decode(stdout);
  for (const failure of ["the test itself", "the clean-up, in /"]) assert.ok(text.includes(failure), text);
});
