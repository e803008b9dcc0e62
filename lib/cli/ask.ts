/**
 * A question to the person at the terminal.
 *
 * @module
 */
import { unlessAborted } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";
import type { ActionContext } from "./actions.ts";

/**
 * True for an answer that begins with y. The end of the input is a no.
 *
 * @param hint what makes the question unnecessary, where there is nobody to ask
 * @throws {NydusGdError} "usage" where standard input is no terminal, "interrupted"
 */
export async function confirm(question: string, hint: string, { stderr, signal }: ActionContext): Promise<boolean> {
  if (!Deno.stdin.isTerminal()) {
    throw new NydusGdError("usage", "Cannot ask: standard input is no terminal", { hint });
  }
  stderr.write(`${question} [y/N] `);
  const answer = new Uint8Array(80);
  const length = await unlessAborted(Deno.stdin.read(answer), signal) ?? 0;
  return /^\s*y/i.test(new TextDecoder().decode(answer.subarray(0, length)));
}
