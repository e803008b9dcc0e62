import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { cacheUsage } from "./cache_usage.ts";

Deno.test("a sparse file counts with its allocated size, the kernel's own cache is counted separately", async () => {
  using temp = TempDir.make();
  const before = await cacheUsage(temp.path);
  assert.deepEqual([before.usedBytes, before.kernelBytes], [0, 0]);
  assert.ok(before.totalBytes >= before.freeBytes && before.freeBytes > 0);
  assert.equal(before.outOfInodes, false);
  await Deno.writeFile(temp.join("a.blob.data"), new Uint8Array(100_000).fill(1));
  await Deno.truncate(temp.join("a.blob.data"), 1e9);
  for (const folder of ["folder", "fscache/cache/I/@00"]) {
    await Deno.mkdir(temp.join(folder), { recursive: true });
    await Deno.writeFile(temp.join(`${folder}/b`), new Uint8Array(100_000).fill(1));
  }
  for (const name of ["a.blob.data", "fscache/cache/I/@00/b"]) {
    using file = await Deno.open(temp.join(name), { write: true });
    await file.sync(); // some file systems count delayed allocations late
  }
  const { usedBytes, kernelBytes } = await cacheUsage(temp.path);
  for (const bytes of [usedBytes, kernelBytes]) assert.ok(bytes >= 100_000 && bytes < 200_000, `${bytes} bytes`);
});

Deno.test("a missing folder is reported by name", async () => {
  await assert.rejects(() => cacheUsage("/no/such/cache"), {
    code: "io",
    message: 'Cannot examine cache "/no/such/cache": Cannot statfs "/no/such/cache": ENOENT',
  });
});
