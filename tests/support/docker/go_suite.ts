/**
 * Suites in Go beside the repository, which judge a program from the side of its users.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import { geteuid } from "../../../ffi/unistd.ts";
import { ignore } from "../../../lib/base/errors.ts";
import { unmountBelow } from "../mount/unmount_below.ts";

const SUITES = new URL("../../../../shared/conformance/", import.meta.url).pathname;
const MINIMUM_GO = [1, 25] as const;

async function goCompiler(): Promise<string | undefined> {
  for (const go of ["go", "/usr/local/go/bin/go"]) {
    // a missing program throws synchronously; make it a rejection
    const run = async () => await new Deno.Command(go, { args: ["version"] }).output();
    const output = await ignore(Deno.errors.NotFound, run());
    const version = /go(\d+)\.(\d+)/.exec(new TextDecoder().decode(output?.stdout));
    const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
    if (major > MINIMUM_GO[0] || (major === MINIMUM_GO[0] && minor >= MINIMUM_GO[1])) return go;
  }
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (entry.isDirectory) await copyFolder(`${from}/${entry.name}`, `${to}/${entry.name}`);
    else await Deno.writeFile(`${to}/${entry.name}`, await Deno.readFile(`${from}/${entry.name}`));
  }
}

/** A suite that can be run, or the reasons why not. */
export class GoSuite {
  private constructor(private readonly folder: string, private readonly go: string, readonly missing: string[]) {}

  /** Looks for the suite of that name; logs what is missing. */
  static async find(name: string): Promise<GoSuite> {
    const folder = `${SUITES}${name}/`;
    const go = await goCompiler();
    const suite = await ignore(Deno.errors.NotFound, Deno.stat(folder));
    const missing = [
      ...(geteuid() === 0 ? [] : ["root"]),
      ...(suite === undefined ? ["the suite next to the repository"] : []),
      ...(go === undefined ? [`Go >= ${MINIMUM_GO.join(".")}`] : []),
    ];
    if (missing.length > 0) console.log(`${name} conformance skipped: ${missing.join(", ")} missing`);
    return new GoSuite(folder, go ?? "go", missing);
  }

  /** Runs the suite in `scratch`; fails with its failed tests. */
  async run(scratch: string, env: Readonly<Record<string, string>>): Promise<void> {
    await copyFolder(this.folder, `${scratch}/suite`);
    const { success, stdout, stderr } = await new Deno.Command(this.go, {
      args: ["test", "-count=1", "-v", "."],
      cwd: `${scratch}/suite`,
      env: { ...env, GOFLAGS: "-mod=mod" },
    }).output();
    const text = new TextDecoder().decode(stdout);
    const failures = text.split("\n").filter((line) => /^\s*--- FAIL|^panic|^FAIL/.test(line));
    console.log(
      `${text.match(/^ *--- PASS/gm)?.length ?? 0} passed, ${text.match(/^ *--- SKIP/gm)?.length ?? 0} skipped`,
    );
    ok(success, [...failures, new TextDecoder().decode(stderr), failures.length > 0 ? text : ""].join("\n"));
  }
}

/**
 * A command for a suite that kills and restarts the program: it asks this process over its own socket.
 *
 * @param restart resolves when the program listens again
 */
export async function restarter(scratch: string, restart: () => Promise<void>, signal: AbortSignal): Promise<string> {
  const path = `${scratch}/restart.sock`;
  const server = Deno.serve({ path, signal, onListen: () => {} }, async () => {
    await restart();
    return new Response("listening");
  });
  server.finished.catch(() => {});
  const script = `const client = Deno.createHttpClient({ proxy: { transport: "unix", path: Deno.args[0] } });
await (await fetch("http://restart/", { method: "POST", client })).text();
Deno.exit(0);
`;
  await Deno.writeTextFile(`${scratch}/restart.ts`, script);
  return `'${Deno.execPath()}' run -A -q --no-config --no-lock '${scratch}/restart.ts' '${path}'`;
}

/**
 * Runs `task` with a scratch folder of a short path, because suites create unix sockets below it, whose paths are
 * limited to 107 bytes. Unmounts and deletes everything in it.
 */
export async function inShortFolder(task: (scratch: string, signal: AbortSignal) => Promise<void>): Promise<void> {
  const scratch = `${Deno.env.get("TMPDIR") ?? "/tmp"}/c${crypto.randomUUID().slice(0, 3)}`;
  await Deno.mkdir(scratch, { mode: 0o700 });
  const end = new AbortController();
  try {
    await task(scratch, end.signal);
  } finally {
    end.abort();
    unmountBelow(scratch);
    await Deno.remove(scratch, { recursive: true });
  }
}
