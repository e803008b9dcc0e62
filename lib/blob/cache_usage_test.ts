import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { cacheUsage } from "./cache_usage.ts";

Deno.test("a sparse file counts with what it occupies, folders and what is in them do not", async () => {
  using temp = TempDir.make();
  const before = await cacheUsage(temp.path);
  assert.equal(before.usedBytes, 0);
  assert.ok(before.totalBytes >= before.freeBytes && before.freeBytes > 0);
  assert.equal(before.outOfInodes, false);
  await Deno.writeFile(temp.join("a.blob.data"), new Uint8Array(100_000).fill(1));
  await Deno.truncate(temp.join("a.blob.data"), 1e9);
  await Deno.mkdir(temp.join("folder"));
  await Deno.writeFile(temp.join("folder/b"), new Uint8Array(100_000).fill(1));
  using file = await Deno.open(temp.join("a.blob.data"), { write: true });
  await file.sync(); // blocks of delayed allocations are counted late by some file systems
  const { usedBytes } = await cacheUsage(temp.path);
  assert.ok(usedBytes >= 100_000 && usedBytes < 200_000, `${usedBytes} bytes`);
});

Deno.test("a folder that is gone is named", async () => {
  await assert.rejects(() => cacheUsage("/no/such/cache"), {
    code: "io",
    message: 'Cannot look at cache "/no/such/cache": Cannot statfs "/no/such/cache": ENOENT',
  });
});
