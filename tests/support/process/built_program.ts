/**
 * The program as users install it: built as scripts/build.sh does.
 *
 * @module
 */
import assert from "node:assert/strict";
import { REPOSITORY } from "../repository.ts";

/** Builds executable and package into a folder. @param options of scripts/build_binary.ts */
export async function buildProgram(dist: string, ...options: string[]): Promise<void> {
  const script = ["--config", `${REPOSITORY}/deno.json`, `${REPOSITORY}/scripts/build_binary.ts`];
  const args = ["run", "-A", "-q", "--no-check", ...script, "--dist", dist, ...options];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}
