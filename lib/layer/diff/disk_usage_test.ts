import { deepEqual, equal } from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { diskUsage } from "./disk_usage.ts";

Deno.test("a tree takes its root, everything below, and each inode once", async () => {
  using dir = TempDir.make();
  const empty = diskUsage(dir.path);
  equal(empty.inodes, 1);
  await Deno.mkdir(dir.join("d"));
  await Deno.writeFile(dir.join("d/file"), new Uint8Array(100_000).fill(1));
  await Deno.link(dir.join("d/file"), dir.join("link"));
  await Deno.symlink("elsewhere", dir.join("symlink"));
  const { bytes, inodes } = diskUsage(dir.path);
  deepEqual([inodes, bytes >= 100_000 && bytes < 200_000], [4, true]);
});

Deno.test("a hole takes no space", async () => {
  using dir = TempDir.make();
  using file = await Deno.create(dir.join("sparse"));
  await file.truncate(1 << 30);
  equal(diskUsage(dir.path).bytes < 1 << 20, true);
});
