/**
 * A sandbox leaves no process and no mount behind, however the process that started it ends.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readProcessFile } from "../../ffi/procfs.ts";
import { geteuid } from "../../ffi/unistd.ts";
import { kill, Sandbox } from "../../lib/demo/sandbox.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

async function whyNot(): Promise<string | undefined> {
  if (geteuid() !== 0) return "not root";
  const { success } = await new Deno.Command("unshare", { args: ["--mount", "--pid", "--fork", "true"] }).output();
  return success ? undefined : "namespaces are not permitted";
}

const reason = await whyNot();
if (reason !== undefined) console.log(`sandbox tests are skipped: ${reason}`);
const sandboxTest = (name: string, fn: () => Promise<void>) => Deno.test({ name, ignore: reason !== undefined, fn });

/** Whether a process runs; a zombie does not count. */
function isAlive(pid: number): boolean {
  const status = readProcessFile(pid, "status");
  return status !== undefined && !/^State:\s+[ZX]/m.test(status);
}

/** Waits for the end of processes that are not our children. */
function allEnd(pids: readonly number[]): Promise<void> {
  return until("the processes end", () => !pids.some(isAlive));
}

/** Processes of a sandbox, as the host numbers them: those in the process namespace of `initPid`. */
function processesOf(initPid: number): number[] {
  const namespace = Deno.readLinkSync(`/proc/${initPid}/ns/pid`);
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((pid) => {
    if (!Number.isInteger(pid)) return false;
    try {
      return Deno.readLinkSync(`/proc/${pid}/ns/pid`) === namespace;
    } catch (error) {
      // ended in the meantime, or not ours to examine
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return false;
      throw error;
    }
  });
}

const hostMounts = () => Deno.readTextFileSync("/proc/self/mountinfo");

sandboxTest("a mount inside is not visible outside, and removed with the sandbox and its processes", async () => {
  using temp = TempDir.make();
  const before = hostMounts();
  await using stack = new AsyncDisposableStack();
  const sandbox = stack.use(await Sandbox.start());
  const mounted = await sandbox.spawn("mount", ["-t", "tmpfs", "tmpfs", temp.path]).status;
  assert.ok(mounted.success);
  assert.match(await sandbox.mountinfo(), new RegExp(` ${temp.path} .* tmpfs `));
  assert.equal(hostMounts(), before);
  const detached = sandbox.spawn("sh", ["-c", "sleep 1000 & exec sleep 1000"]);
  const processes = processesOf(sandbox.initPid);
  assert.ok(processes.length >= 2);
  await stack.disposeAsync();
  await detached.status;
  await allEnd(processes);
  assert.equal(hostMounts(), before);
});

sandboxTest("/run inside is empty, so that no daemon of the host is reached", async () => {
  await using sandbox = await Sandbox.start();
  const listing = sandbox.spawn("find", ["/run", "-type", "s"], { stdout: "piped" });
  assert.equal(new TextDecoder().decode((await listing.output()).stdout), "");
});

sandboxTest("files that dockerd writes outside its folders are removed with the sandbox", async () => {
  await using sandbox = await Sandbox.start();
  const name = `nydus-gd-test-${Deno.pid}`;
  const places = ["/etc/docker", "/opt"].filter((place) => existsSync(place)).map((place) => `${place}/${name}`);
  assert.ok((await sandbox.spawn("mkdir", places).status).success);
  for (const place of places) assert.ok(!existsSync(place), place);
});

sandboxTest("a signal reaches the program inside", async () => {
  await using sandbox = await Sandbox.start();
  const child = sandbox.spawn("sh", ["-c", 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done'], {
    stdout: "piped",
  });
  const reader = child.stdout.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "ready\n");
  kill(child, "SIGTERM");
  assert.equal((await child.status).code, 7);
  await reader.cancel();
  kill(child, "SIGTERM"); // it has ended: no effect
});

sandboxTest("killing the process that made a sandbox ends all of it", async () => {
  using temp = TempDir.make();
  const before = hostMounts();
  const module = new URL("../../lib/demo/sandbox.ts", import.meta.url).href;
  await Deno.writeTextFile(
    temp.join("parent.ts"),
    `import { Sandbox } from ${JSON.stringify(module)};
    const sandbox = await Sandbox.start();
    const child = sandbox.spawn("sh", ["-c", "mount -t tmpfs tmpfs " + Deno.args[0] + " && echo on && exec sleep 1000"],
      { stdout: "piped" });
    await child.stdout.getReader().read();
    console.log(sandbox.initPid);
    await child.status;`,
  );
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-lock", "--config", config, temp.join("parent.ts"), temp.path],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  await using _end = { // also if the test fails before that
    [Symbol.asyncDispose]: async () => {
      kill(parent, "SIGKILL");
      await parent.status;
    },
  };
  const reader = parent.stdout.getReader();
  const initPid = Number(new TextDecoder().decode((await reader.read()).value));
  const processes = processesOf(initPid);
  assert.ok(processes.length >= 2);
  parent.kill("SIGKILL");
  await parent.status;
  await reader.cancel();
  await allEnd(processes);
  assert.equal(hostMounts(), before);
});
