/**
 * Commands within limits that are too low say which one it is, in place of being ended by the kernel or by the runtime.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readMountinfo } from "../../ffi/mountinfo.ts";
import { readProcessFile } from "../../ffi/procfs.ts";
import { groupFolders } from "../../lib/base/control_groups.ts";
import { commandLine, Server } from "../support/process/command.ts";
import { fixtureOf, RAFS_FIXTURES } from "../support/rafs/rafs_fixtures.ts";
import { isRoot, rootTest } from "../support/root_test.ts";
import { sh } from "../support/process/shell.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const { bootstrap } = fixtureOf("v6-prefetch-fs");
const MOUNT = ["mount", "--blob-dir", `${RAFS_FIXTURES}/blobs`];

/** A group of this process that limits tasks and may have a child; undefined if there is none. */
function groupOfTasks(): string | undefined {
  const folders = groupFolders(readProcessFile("self", "cgroup") ?? "", readMountinfo());
  return folders.find((folder) => isRoot && hasTaskLimit(folder));
}

function hasTaskLimit(folder: string): boolean {
  const child = `${folder}/nydus-gd-probe-${Deno.pid}`;
  try {
    Deno.mkdirSync(child);
    const { isFile } = Deno.statSync(`${child}/pids.max`);
    return isFile;
  } catch {
    return false; // read-only, or without the controller
  } finally {
    try {
      Deno.removeSync(child);
    } catch { /* was not made */ }
  }
}

const group = groupOfTasks();

/** A new group for `most` tasks. */
class TaskGroup implements Disposable {
  readonly folder = `${group}/nydus-gd-test-${Deno.pid}`;

  constructor(most: number) {
    Deno.mkdirSync(this.folder);
    Deno.writeTextFileSync(`${this.folder}/pids.max`, `${most}`);
  }

  /** Words that run a program in it. */
  get within(): string[] {
    return ["sh", "-ec", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "sh", this.folder];
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder);
  }
}

rootTest("beyond a limit of file sizes reads fail, the server stays, and they succeed once it is raised", async () => {
  using temp = TempDir.make();
  const words = [...MOUNT, "--log-level", "error", bootstrap, temp.path];
  await using server = await Server.start(words, /^mounted /);
  const limit = (soft: string) => sh('prlimit --pid "$1" --fsize="$2:"', `${server.process.pid}`, soft);
  const read = () => sh('timeout -s KILL 20 cat "$1"/lib/* >/dev/null', temp.path);
  await limit("4096");
  await assert.rejects(read(), /Input\/output error/);
  await limit("unlimited");
  await read();
});

rootTest("few descriptors are warned of before they are missing", async () => {
  using temp = TempDir.make();
  const options = { within: ["prlimit", "--nofile=500"] };
  await using server = await Server.start([...MOUNT, bootstrap, temp.path], /open files are limited/, options);
  assert.match(server.firstLine, /open files are limited to 500: .*ulimit -n|ulimit -n.*open files are limited to 500/);
});

rootTest("a background mount whose server is killed says so", async () => {
  using temp = TempDir.make();
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 }); // accepts and never answers
  const { port } = silent.addr as Deno.NetAddr;
  const [program, ...args] = commandLine(["mount", "--background", `127.0.0.1:${port}/app:1`, temp.path]);
  const process = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
  const output = process.output();
  let server = "";
  await until("the server runs", async () => {
    server = await sh('cat "/proc/$1/task/"*/children', `${process.pid}`);
    return server !== "";
  });
  Deno.kill(Number(server), "SIGKILL");
  const { code, stderr } = await output;
  assert.equal(code, 1);
  assert.match(new TextDecoder().decode(stderr), /its server was ended by SIGKILL\nhint: dmesg/);
});

Deno.test({
  name: "a thread that the control group does not allow is an error that names it, not the end of the program",
  ignore: group === undefined,
}, async () => {
  using temp = TempDir.make();
  using limited = new TaskGroup(1000);
  const program = temp.join("program.ts");
  Deno.writeTextFileSync(program, startingThread(limited.folder));
  const [shell = "", ...words] = [...limited.within, Deno.execPath(), "run", "-A", "--no-lock", "--no-check", program];
  const { code, stdout, stderr } = await new Deno.Command(shell, { args: words, stdin: "null" }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.equal(code, 0, text(stderr));
  assert.match(text(stdout), /^Cannot start thread idle: its control group allows \d+ tasks\n$/);
});

/** A program that leaves its group no task, then starts a thread, and prints the error. */
function startingThread(folder: string): string {
  return `import { startWorker } from ${JSON.stringify(import.meta.resolve("../../lib/base/worker.ts"))};
    Deno.writeTextFileSync("${folder}/pids.max", Deno.readTextFileSync("${folder}/pids.current").trim());
    try {
      startWorker(new URL("data:text/javascript,"), "idle");
    } catch (error) {
      console.log(error.message);
    }
    Deno.exit(0);`;
}
