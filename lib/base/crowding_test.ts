import assert from "node:assert/strict";
import { Crowding } from "./crowding.ts";

/** Time limit for a change of scheduling to take effect. */
const PATIENCE_MS = 20_000;
const RIVALS = 4;

Deno.test("processors are scarce among busy threads on one processor, plenty at real-time priority", async () => {
  const thread = Deno.readLinkSync("/proc/thread-self").split("/").at(-1) ?? "";
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(Deno.readTextFileSync("/proc/thread-self/status"))?.[1] ?? "";
  const one = String(Number.parseInt(allowed));
  using crowding = new Crowding();
  await run("taskset", "--cpu-list", "--pid", one, thread);
  const rivals = Array.from({ length: RIVALS }, () => spin(one));
  try {
    assert.ok(becomes(() => crowding.isCrowded(performance.now())), "not scarce");
    await run("chrt", "--fifo", "--pid", "1", thread);
    assert.ok(becomes(() => !crowding.isCrowded(performance.now())), "still scarce");
  } finally {
    await run("chrt", "--other", "--pid", "0", thread);
    await run("taskset", "--cpu-list", "--pid", allowed, thread);
    for (const rival of rivals) rival.kill("SIGKILL");
    await Promise.all(rivals.map(({ status }) => status));
  }
});

/** Polls without sleeping until the condition holds or the time is over. */
function becomes(isSo: () => boolean): boolean {
  const deadline = performance.now() + PATIENCE_MS;
  while (!isSo()) if (performance.now() > deadline) return false;
  return true;
}

/** A process that does nothing but use that processor. */
function spin(cpu: string): Deno.ChildProcess {
  return new Deno.Command("taskset", { args: ["--cpu-list", cpu, "sh", "-c", "while :; do :; done"] }).spawn();
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stdout: "null" }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}
