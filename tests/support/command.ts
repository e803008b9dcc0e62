/**
 * This program as a process of its own.
 *
 * @module
 */
import assert from "node:assert/strict";
import { PROGRAM } from "./program.ts";

/** How long a command that should end may take. */
const TIMEOUT_MS = 30_000;

/** How a command ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command is run. */
export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Words before the program, such as `unshare --mount`. */
  readonly within?: readonly string[];
}

/** Program and arguments of `nydus-gd ARGS`. */
export function commandLine(args: readonly string[], within: readonly string[] = []): [string, ...string[]] {
  const words = [...within, ...PROGRAM, ...args];
  return words as [string, ...string[]];
}

/** A shell script in a mount namespace of its own that goes before the program. */
export function inNamespace(script: string): string[] {
  return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", `${script}; exec "$@"`, "sh"];
}

/** Runs `nydus-gd ARGS` to its end. */
export async function run(args: readonly string[], { env = {}, within = [] }: CommandOptions = {}): Promise<Outcome> {
  const [program, ...words] = commandLine(args, within);
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: words,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** `nydus-gd ARGS` fails with this sentence and this hint (undefined: none), and says nothing else. */
export async function fails(
  args: readonly string[],
  sentence: RegExp,
  hint: RegExp | undefined,
  options: CommandOptions & { readonly code?: number } = {},
): Promise<void> {
  const { code, stdout, stderr } = await run(args, options);
  const [first = "", second = "", ...more] = stderr.trimEnd().split("\n");
  assert.match(first, /^nydus-gd: cannot /, stderr);
  assert.match(first, sentence);
  assert.match(second, hint === undefined ? /^$/ : /^hint: /, stderr);
  if (hint !== undefined) assert.match(second, hint);
  assert.deepEqual([stdout, more, code], ["", [], options.code ?? 1]);
}

/** `nydus-gd ARGS` that serves in the foreground until it is stopped. */
export class Server implements AsyncDisposable {
  private constructor(readonly process: Deno.ChildProcess, readonly firstLine: string) {}

  /** Returns when a line of its log or its output matches. */
  static async start(args: readonly string[], usable: RegExp, options: CommandOptions = {}): Promise<Server> {
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

  /** As a crash would. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.process.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
    await this.process.status;
  }
}
