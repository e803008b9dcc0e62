import assert from "node:assert/strict";
import { KeepingProcess, KEPT } from "../../../tests/support/mount/keeping_process.ts";
import { endProcess } from "../../../tests/support/process/end_process.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { until } from "../../../tests/support/until.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { processStat } from "../../../ffi/procfs.ts";
import { Keeper } from "./keeper.ts";

/** Field 6 of proc(5)'s stat among {@link processStat}. */
const SESSION = 3;

Deno.test("a keeper survives the kill of its daemon until it is discarded", async () => {
  using temp = TempDir.make();
  const record = temp.join("keeper.json");
  const daemon = new KeepingProcess(record);
  await daemon.started();
  const pid = await daemon.keeperPid();
  await until("the keeper has a session of its own", () => processStat(pid)?.[SESSION] === `${pid}`);
  await daemon.kill();
  assert.equal(await Keeper.pidOf(record), pid);
  dispose(await Keeper.take(record));
  await Keeper.discard(record);
  await daemon.ended();
});

Deno.test("a keeper ends if its daemon is killed before the keeper is recorded", async () => {
  using temp = TempDir.make();
  const record = await unwritable(temp);
  const daemon = new KeepingProcess(record);
  await daemon.keeperPid();
  await daemon.kill();
  await daemon.ended();
});

Deno.test("a keeper survives if its daemon is killed after recording it, before confirming", async () => {
  using temp = TempDir.make();
  const record = await unwritable(temp);
  const daemon = new KeepingProcess(record);
  const pid = await daemon.keeperPid();
  const bootId = Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
  const startTime = Deno.readTextFileSync(`/proc/${pid}/stat`).split(" ")[21];
  Deno.writeTextFileSync(record, `${JSON.stringify({ pid, startTime, bootId, descriptors: [[KEPT, 1]] })}\n`);
  await daemon.kill();
  await until("the keeper sleeps", () => Deno.readTextFileSync(`/proc/${pid}/comm`) === "sleep\n");
  await Keeper.discard(record);
  await daemon.ended();
});

Deno.test("a process that has the pid of a recorded keeper is neither asked nor killed", async () => {
  using temp = TempDir.make();
  const record = temp.join("keeper.json");
  const bootId = Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
  const stranger = new Deno.Command("sleep", { args: ["1000"], stdin: "null", stdout: "null" }).spawn();
  using _ended = { [Symbol.dispose]: () => endProcess(stranger) };
  const { pid } = stranger;
  const itself = { pid, startTime: Deno.readTextFileSync(`/proc/${pid}/stat`).split(" ")[21] };
  const earlier = { pid, startTime: "1" };
  const kept = (keeper: typeof itself, boot: string, former = earlier) =>
    Deno.writeTextFileSync(record, JSON.stringify({ ...keeper, bootId: boot, descriptors: [[KEPT, 0]], former }));
  for (const [keeper, boot] of [[earlier, bootId], [itself, "an earlier boot"]] as const) {
    kept(keeper, boot);
    assert.equal(await Keeper.pidOf(record), undefined);
    assert.equal(await Keeper.take(record), undefined);
    await Keeper.discard(record);
  }
  kept(itself, bootId);
  assert.equal(await Keeper.pidOf(record), pid, "it lives on");
  await Keeper.discard(record);
  assert.equal((await stranger.status).signal, "SIGKILL");
});

Deno.test("a keeper that cannot be recorded ends", async () => {
  using temp = TempDir.make();
  const daemon = new KeepingProcess(temp.join("missing/keeper.json"));
  await daemon.ended();
});

Deno.test("a keeper that was being replaced ends with its replacement", async () => {
  using temp = TempDir.make();
  const records = [temp.join("former.json"), temp.join("keeper.json")] as const;
  const daemons = records.map((record) => new KeepingProcess(record));
  for (const daemon of daemons) await daemon.started();
  for (const daemon of daemons) await daemon.kill();
  const [former, kept] = records.map((record) => JSON.parse(Deno.readTextFileSync(record)));
  Deno.writeTextFileSync(records[1], JSON.stringify({ ...kept, former }));
  await Keeper.discard(records[1]);
  for (const daemon of daemons) await daemon.ended();
});

/** Returns the path of a record that cannot be written: writers block. */
async function unwritable(temp: TempDir): Promise<string> {
  const record = temp.join("keeper.json");
  const { success } = await new Deno.Command("mkfifo", { args: [`${record}.tmp`] }).output();
  assert.ok(success);
  return record;
}

function dispose(taken: Map<string, Fd> | undefined): void {
  assert.deepEqual([...taken?.keys() ?? []], [KEPT]);
  for (const fd of taken?.values() ?? []) fd[Symbol.dispose]();
}
