import assert from "node:assert/strict";
import { readProcessFile } from "./procfs.ts";

Deno.test("a file of a process is read, and of one that has ended there is none", async () => {
  assert.match(readProcessFile(Deno.pid, "stat") ?? "", new RegExp(`^${Deno.pid} \\(`));
  assert.ok((readProcessFile(Deno.pid, "maps") ?? "").length > 4096, "more than one piece");
  const child = new Deno.Command("true").spawn();
  await child.status;
  assert.equal(readProcessFile(child.pid, "stat"), undefined);
});

Deno.test("a process may end at any moment while its file is read", async () => {
  for (let round = 0; round < 50; round++) {
    const child = new Deno.Command("true").spawn();
    let isThere = true;
    child.status.then(() => isThere = false);
    while (isThere) {
      readProcessFile(child.pid, "stat");
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
});
