/**
 * Runs nydus-gd as a separate process.
 *
 * @module
 */
import assert from "node:assert/strict";
import { endProcess } from "./end_process.ts";
import { PROGRAM } from "./program.ts";
import { PATIENCE_MS } from "../until.ts";

/** Result of a command. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of a command. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Words before the program, such as `unshare --mount`. */
  readonly within?: readonly string[];
}

/** Returns the command line of `nydus-gd ARGS`. */
export function commandLine(args: readonly string[], within: readonly string[] = []): [string, ...string[]] {
  const words = [...within, ...PROGRAM, ...args];
  return words as [string, ...string[]];
}

/** Words that run `script` in a new mount namespace before the program. */
export function inNamespace(script: string): string[] {
  return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", `${script}; exec "$@"`, "sh"];
}

/** Runs `nydus-gd ARGS` to completion. @throws {Error} with its output if it does not end within {@link PATIENCE_MS} */
export async function run(args: readonly string[], { env = {}, within = [] }: RunOptions = {}): Promise<RunResult> {
  const [program, ...words] = commandLine(args, within);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: words,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (signal.aborted) {
    throw new Error(`nydus-gd ${args.join(" ")} did not end within ${PATIENCE_MS} ms: ${text(stdout)}${text(stderr)}`);
  }
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Asserts that `nydus-gd ARGS` fails with this message and hint (undefined: none) and no other output. */
export async function fails(
  args: readonly string[],
  sentence: RegExp,
  hint: RegExp | undefined,
  options: RunOptions & { readonly code?: number } = {},
): Promise<void> {
  const { code, stdout, stderr } = await run(args, options);
  const [first = "", second = "", ...more] = stderr.trimEnd().split("\n");
  assert.match(first, /^nydus-gd: cannot /, stderr);
  assert.match(first, sentence);
  assert.match(second, hint === undefined ? /^$/ : /^hint: /, stderr);
  if (hint !== undefined) assert.match(second, hint);
  assert.deepEqual([stdout, more, code], ["", [], options.code ?? 1]);
}

/** A `nydus-gd ARGS` that serves in the foreground until it is stopped. */
export class Server implements AsyncDisposable {
  private constructor(readonly process: Deno.ChildProcess, readonly firstLine: string) {}

  /** Starts it; resolves when a line of its log or output matches `usable`. */
  static async start(args: readonly string[], usable: RegExp, options: RunOptions = {}): Promise<Server> {
    const [program, ...words] = commandLine(args, ["sh", "-c", 'exec "$@" 2>&1', "sh", ...(options.within ?? [])]);
    const env = { NO_COLOR: "1", ...options.env };
    const process = new Deno.Command(program, { args: words, env, stdin: "null", stdout: "piped" }).spawn();
    const reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      text += value ?? "";
      const line = text.split("\n").find((each) => usable.test(each));
      if (line !== undefined) {
        (async () => {
          while (!(await reader.read()).done);
        })();
        return new Server(process, line);
      }
      if (!done) continue;
      await process.status;
      throw new Error(`Cannot start nydus-gd ${args.join(" ")}: ${text}`);
    }
  }

  /** Kills it, as a crash would. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    endProcess(this.process, "SIGTERM");
    await this.process.status;
  }
}
