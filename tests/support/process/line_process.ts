/**
 * A Deno program that answers a line with a line, so that its start is paid for once instead of for each question.
 *
 * ```ts
 * await using process = new LineProcess(import.meta.url);
 * const answer = await process.ask("question", 30_000);
 * // in the program: if (Deno.args[0] === SERVE) await answerLines((question) => …);
 * ```
 * Used to access mounts: a process that serves a mount must not access it, and a hang must affect the child only.
 *
 * @module
 */

/** The program's only argument. */
export const SERVE = "--serve";

/** The process. One question at a time. */
export class LineProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;

  /** @param module URL of the program */
  constructor(module: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", "--no-check", module, SERVE],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
  }

  /**
   * Returns the answer to a question.
   *
   * @throws {Error} if the process has died, or takes longer than `timeoutMs`: then it is killed
   */
  async ask(question: string, timeoutMs: number): Promise<string> {
    await this.#input.write(new TextEncoder().encode(`${question}\n`));
    let late = false;
    const timeout = setTimeout(() => {
      late = true;
      this.#child.kill("SIGKILL");
    }, timeoutMs);
    try {
      const { value, done } = await this.#lines.next();
      if (!done) return value;
      throw new Error(`Cannot answer ${question}: ${late ? `it takes more than ${timeoutMs} ms` : "it died"}`);
    } finally {
      clearTimeout(timeout);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => this.#child.kill("SIGKILL")); // broken pipe: it was killed
    await this.#lines.return(undefined);
    await this.#child.status;
  }
}

/** The program's side of {@link LineProcess}: answers until its input ends. */
export async function answerLines(answer: (question: string) => string): Promise<void> {
  for await (const question of linesOf(Deno.stdin.readable)) {
    const reply = new TextEncoder().encode(`${answer(question)}\n`);
    for (let sent = 0; sent < reply.length;) sent += Deno.stdout.writeSync(reply.subarray(sent));
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    rest += text;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      yield rest.slice(0, end);
      rest = rest.slice(end + 1);
    }
  }
}
