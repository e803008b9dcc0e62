import assert from "node:assert/strict";
import { openBootstrap } from "./open.ts";
import { BootstrapWriter } from "./v6/writer.ts";
import { walkTree } from "./walk.ts";

const FOLDER = { mode: 0o040755, uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 };

/** A chain of directories with names of 4 bytes. */
function chain(depth: number): Uint8Array {
  const writer = new BootstrapWriter({ chunkSize: 4096, compressor: "none", digester: "sha256" });
  let folder = writer.addInode(FOLDER);
  for (let i = 0; i < depth; i++) {
    const child = writer.addInode(FOLDER);
    writer.addEntry(folder, new TextEncoder().encode("deep"), child);
    folder = child;
  }
  return writer.finish([]);
}

Deno.test("a tree is walked down to PATH_MAX, and no deeper", () => {
  assert.equal([...walkTree(openBootstrap(chain(819)))].length, 820); // 819 * 5 - 1 = 4094 bytes
  assert.throws(() => [...walkTree(openBootstrap(chain(820)))], {
    name: "RafsError",
    message: /^Cannot read RAFS tree at \d+: a path below it exceeds 4095 bytes$/,
  });
});
