/**
 * Translates errors for the terminal: one line that says what failed, one with a hint, and an exit status.
 *
 * ```
 * nydus-gd: cannot mount "/mnt/image": EBUSY
 * hint: nydus-gd umount /mnt/image
 * ```
 *
 * @module
 */
import { CommanderError } from "@commander-js/extra-typings";
import { styleText } from "node:util";
import { firstFailure, hasCode } from "../base/errors.ts";
import { describeError } from "../base/error_report.ts";
import type { Output } from "./actions.ts";
import { hasColours, oneLine } from "./output.ts";

/** Exit statuses. */
export const EXIT = { done: 0, failed: 1, usage: 2, foundWrong: 3, interrupted: 130, brokenPipe: 141 } as const;

/** What to show of an error, and the exit status of the process. */
export interface Failure {
  readonly exitCode: number;
  /** Without "nydus-gd: ". Undefined: everything has been printed already. */
  readonly message?: string;
  readonly hint?: string;
}

/** A command line that commander rejected, and the command that it was for. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** @param command "nydus-gd mount" */
  constructor(readonly command: string, override readonly cause: CommanderError) {
    super(cause.message);
  }
}

/** Returns what to show for anything that was thrown. */
export function failureOf(thrown: unknown): Failure {
  const error = firstFailure(thrown);
  if (error instanceof UsageError) return usageFailure(error);
  if (error instanceof Deno.errors.BrokenPipe) return { exitCode: EXIT.brokenPipe };
  const message = sentence(error);
  const hint = describeError(error).hint;
  const shown = hint === undefined ? { message } : { message, hint: oneLine(hint) };
  if (hasCode(error, "interrupted") || (error instanceof DOMException && error.name === "AbortError")) {
    return { exitCode: EXIT.interrupted, ...shown };
  }
  return { exitCode: hasCode(error, "usage") ? EXIT.usage : EXIT.failed, ...shown };
}

/** Prints a failure. */
export function showFailure({ message, hint }: Failure, stderr: Output): void {
  const red = (text: string) => hasColours(stderr) ? styleText("red", text, { validateStream: false }) : text;
  if (message !== undefined) stderr.write(`${red("nydus-gd:")} ${message}\n`);
  if (hint !== undefined) stderr.write(`hint: ${hint}\n`);
}

function usageFailure({ command, cause }: UsageError): Failure {
  if (cause.exitCode === 0) return { exitCode: EXIT.done }; // --help, --version, help
  if (cause.code === "commander.help") return { exitCode: EXIT.usage }; // no command given: the help was shown
  const [state = "", ...more] = cause.message.replace(/^error: /, "").replace(/\.$/, "").split("\n");
  const suggestion = more.join(" ").match(/^\(Did you mean (.+)\?\)$/)?.[1];
  return {
    exitCode: EXIT.usage,
    message: `cannot read the command line: ${oneLine(state)}`,
    hint: suggestion === undefined ? `${command} --help` : `did you mean ${oneLine(suggestion)}?`,
  };
}

function sentence(error: unknown): string {
  const message = oneLine(describeError(error).message);
  // A message of another form was not written for users: say so, and keep the name of the error.
  if (message.startsWith("Cannot ")) return `c${message.slice(1)}`;
  const kind = error instanceof Error ? error.name : typeof error;
  return `cannot continue: ${kind}: ${message}`;
}
