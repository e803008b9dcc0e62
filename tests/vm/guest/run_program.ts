/**
 * Runs programs in the guest to completion.
 *
 * @module
 */

/** Returns its output. @throws {Error} with its error output if it fails */
export async function runProgram(program: string, ...args: string[]): Promise<Uint8Array> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  if (!success) throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
  return stdout;
}
