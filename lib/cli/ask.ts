/**
 * Asks the user for confirmation on the terminal.
 *
 * @module
 */
import { unlessAborted } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";
import type { ActionContext } from "./actions.ts";

/**
 * Asks a yes/no question. Only an answer starting with "y" means yes; end of input means no.
 *
 * @param hint how to avoid the question if there is not a terminal
 * @throws {NydusGdError} "usage" if standard input is not a terminal, "interrupted"
 */
export async function confirm(question: string, hint: string, { stderr, signal }: ActionContext): Promise<boolean> {
  if (!Deno.stdin.isTerminal()) {
    throw new NydusGdError("usage", "Cannot ask: standard input is not a terminal", { hint });
  }
  stderr.write(`${question} [y/N] `);
  const answer = new Uint8Array(80);
  const length = await unlessAborted(Deno.stdin.read(answer), signal) ?? 0;
  return /^\s*y/i.test(new TextDecoder().decode(answer.subarray(0, length)));
}
