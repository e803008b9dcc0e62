/**
 * Programs of the guest, run to their end.
 *
 * @module
 */

/** What it printed. @throws {Error} with what it said, when it failed */
export async function runProgram(program: string, ...args: string[]): Promise<Uint8Array> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  if (!success) throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
  return stdout;
}
