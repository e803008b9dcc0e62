/**
 * Programs on the PATH: systems to compare with are used if they are installed.
 *
 * @module
 */
import { ignore, NydusGdError } from "../../lib/base/errors.ts";

/** Maximum characters shown of a program's error output. */
const MAX_STDERR_CHARS = 300;

/** Returns the first line of `NAME --version`; undefined if there is no such program. */
export async function versionOf(name: string): Promise<string | undefined> {
  const ask = async () => await new Deno.Command(name, { args: ["--version"], stdin: "null" }).output();
  const said = await ignore(Deno.errors.NotFound, ask());
  if (said === undefined) return undefined;
  const text = new TextDecoder().decode(new Uint8Array([...said.stdout, ...said.stderr]));
  return text.trim().replace(/\s+/g, " ").slice(0, 120);
}

/**
 * Runs a program to completion; returns its output.
 *
 * @throws {NydusGdError} "environment" with what it wrote to standard error
 */
export async function output(program: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args: [...args], stdin: "null" }).output();
  if (success) return new TextDecoder().decode(stdout);
  const said = new TextDecoder().decode(stderr).trim().slice(0, MAX_STDERR_CHARS);
  throw new NydusGdError("environment", `Cannot run ${program} ${args.slice(0, 1)}: ${said || "it printed nothing"}`);
}
