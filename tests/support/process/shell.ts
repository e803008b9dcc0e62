/**
 * Shell scripts as steps of a test.
 *
 * @module
 */
import assert from "node:assert/strict";

/** Runs a script of sh that must succeed with `args` as $1, $2 and so on; returns its trimmed output. */
export async function sh(script: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("sh", { args: ["-ec", script, "sh", ...args] }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}
