/**
 * The watch for unmounts, also in a process that is out of descriptors for a while.
 *
 * @module
 */
import assert from "node:assert/strict";
import { UnmountWatch } from "../../lib/mount/unmount/unmount_watch.ts";
import { endProcess } from "../support/process/end_process.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { WATCHING_PROGRAM } from "../support/mount/watching_process.ts";

rootTest("unmounts are noticed again once a process has descriptors again", async () => {
  using temp = TempDir.make();
  const names = ["first", "second"];
  for (const name of names) Deno.mkdirSync(temp.join(name));
  const args = ["run", "-A", "--no-lock", "--no-check", WATCHING_PROGRAM, temp.path, ...names];
  const process = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "piped" }).spawn();
  let printed = "";
  const reading = (async () => {
    for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) printed += text;
  })();
  const hasPrinted = (text: string) => until(`it prints ${text}`, () => printed === text);
  try {
    await hasPrinted("watching\n");
    const soft = await limitDescriptors(process.pid, "3");
    Deno.removeSync(temp.join("first"));
    await hasPrinted("watching\nfirst\n"); // its next wait needs a descriptor
    await limitDescriptors(process.pid, soft);
    Deno.removeSync(temp.join("second"));
    await hasPrinted("watching\nfirst\nsecond\n");
  } finally {
    endProcess(process);
    await reading;
    await process.status;
  }
});

rootTest("everyone who waits for the end of one file system learns of it", async () => {
  using temp = TempDir.make();
  const root = temp.join("root");
  Deno.mkdirSync(root);
  await using watch = new UnmountWatch();
  const learnt: string[] = [];
  for (const name of ["one", "other"]) watch.gone(root).then(() => learnt.push(name));
  Deno.removeSync(root);
  await until("both learn of it", () => learnt.length === 2);
});

/** Sets the number of descriptors that a process may have; returns the former one. */
async function limitDescriptors(pid: number, soft: string): Promise<string> {
  const script = 'prlimit --nofile --noheadings --output SOFT --pid "$1"; exec prlimit --pid "$1" --nofile="$2:"';
  const { success, stdout } = await new Deno.Command("sh", { args: ["-c", script, "sh", `${pid}`, soft] }).output();
  assert.ok(success);
  return new TextDecoder().decode(stdout).trim();
}
