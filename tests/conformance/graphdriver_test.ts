/**
 * Runs the graph-driver suite that tests from dockerd's side (moby's graphtest and more) against this driver.
 *
 * The suite is next to the repository, in Go; without the suite or a compiler the test is skipped with the reason.
 */
import { ok } from "node:assert/strict";
import { geteuid } from "../../ffi/unistd.ts";
import { ignore } from "../../lib/base/errors.ts";
import { GraphDriverProcess } from "../support/graph_driver_process.ts";
import { unmountBelow } from "../support/store_home.ts";

const SUITE = new URL("../../../shared/conformance/graphdriver/", import.meta.url).pathname;
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

const go = await goCompiler();
const suite = await ignore(Deno.errors.NotFound, Deno.stat(SUITE));
const missing = [
  ...(geteuid() === 0 ? [] : ["root"]),
  ...(suite === undefined ? ["the suite next to the repository"] : []),
  ...(go === undefined ? [`Go >= ${MINIMUM_GO.join(".")}`] : []),
];
if (missing.length > 0) console.log(`graph-driver conformance skipped: ${missing.join(", ")} missing`);

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (entry.isDirectory) await copyFolder(`${from}/${entry.name}`, `${to}/${entry.name}`);
    else await Deno.writeFile(`${to}/${entry.name}`, await Deno.readFile(`${from}/${entry.name}`));
  }
}

/**
 * A command for the suite that kills and restarts the driver: it asks this process over its own socket.
 */
async function restarter(scratch: string, driver: GraphDriverProcess, signal: AbortSignal): Promise<string> {
  const path = `${scratch}/restart.sock`;
  const server = Deno.serve({ path, signal, onListen: () => {} }, async () => {
    await driver.kill();
    await driver.restart();
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
 * A scratch folder with a short path: the suite creates unix sockets in layers, whose paths are limited to 107 bytes.
 */
async function makeShortFolder(): Promise<string> {
  const path = `${Deno.env.get("TMPDIR") ?? "/tmp"}/c${crypto.randomUUID().slice(0, 3)}`;
  await Deno.mkdir(path, { mode: 0o700 });
  return path;
}

Deno.test({
  name: "the driver passes moby's graphtest and further checks of what dockerd relies on",
  ignore: missing.length > 0,
  fn: async () => {
    const scratch = await makeShortFolder();
    const end = new AbortController();
    try {
      await copyFolder(SUITE, `${scratch}/suite`);
      await using driver = await GraphDriverProcess.start(scratch);
      const { success, stdout, stderr } = await new Deno.Command(go ?? "go", {
        args: ["test", "-count=1", "-v", "."],
        cwd: `${scratch}/suite`,
        env: {
          PLUGIN_SOCK: driver.socket,
          PLUGIN_HOME: `${scratch}/h`,
          STRICT: "1",
          RESTART_CMD: await restarter(scratch, driver, end.signal),
          GOFLAGS: "-mod=mod",
        },
      }).output();
      const text = new TextDecoder().decode(stdout);
      const failures = text.split("\n").filter((line) => /^\s*--- FAIL|^panic|^FAIL/.test(line));
      console.log(
        `${text.match(/^--- PASS/gm)?.length ?? 0} passed, ${text.match(/^--- SKIP/gm)?.length ?? 0} skipped`,
      );
      ok(success, [...failures, new TextDecoder().decode(stderr), failures.length > 0 ? text : ""].join("\n"));
    } finally {
      end.abort();
      unmountBelow(scratch);
      await Deno.remove(scratch, { recursive: true });
    }
  },
});
