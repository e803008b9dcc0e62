import { equal, rejects } from "node:assert/strict";
import { syncFileSystem, syncFolder, writeDurably } from "./durable.ts";

Deno.test("a small file is written, replaced and private", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await writeDurably(`${dir}/f`, "a longer text");
    await writeDurably(`${dir}/f`, "short");
    await syncFolder(dir);
    equal(await Deno.readTextFile(`${dir}/f`), "short");
    equal(((await Deno.stat(`${dir}/f`)).mode ?? 0) & 0o777, 0o600);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("syncs requested while one runs share the next one", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const first = syncFileSystem(dir);
    const second = syncFileSystem(dir);
    const third = syncFileSystem(dir);
    equal(second, third);
    equal(first === second, false);
    await Promise.all([first, second, third]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a missing folder cannot be synced", async () => {
  await rejects(() => syncFolder("/no/such/folder"), /ENOENT/);
  await rejects(() => syncFileSystem("/no/such/folder"), /ENOENT/);
});
