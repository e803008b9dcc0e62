import assert from "node:assert/strict";
import { machineOf } from "./machine.ts";

Deno.test("a machine without tables is refused by name", () => {
  assert.equal(machineOf("aarch64"), "aarch64");
  assert.throws(() => machineOf("riscv64"), {
    message: "Cannot run on riscv64: this program is for x86_64 and aarch64",
  });
});
