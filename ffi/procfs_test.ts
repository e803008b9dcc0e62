import assert from "node:assert/strict";
import { turn } from "../tests/support/until.ts";
import { readProcessFile, readProcessLink } from "./procfs.ts";

Deno.test("a file of a running process is read, that of an ended process is reported as missing", async () => {
  assert.match(readProcessFile(Deno.pid, "stat") ?? "", new RegExp(`^${Deno.pid} \\(`));
  assert.ok((readProcessFile(Deno.pid, "maps") ?? "").length > 4096, "more than one piece");
  const child = new Deno.Command("true").spawn();
  await child.status;
  assert.equal(readProcessFile(child.pid, "stat"), undefined);
});

Deno.test("a process may exit while its file is read", async () => {
  for (let round = 0; round < 50; round++) {
    const child = new Deno.Command("true").spawn();
    let isThere = true;
    child.status.then(() => isThere = false);
    while (isThere) {
      readProcessFile(child.pid, "stat");
      await turn();
    }
  }
});

Deno.test("a link of a process is read, that of an ended process or a closed descriptor is reported as missing", async () => {
  assert.match(readProcessLink("self", "ns/mnt") ?? "", /^mnt:\[\d+\]$/);
  assert.equal(readProcessLink("self", "fd/999999"), undefined);
  const child = new Deno.Command("true").spawn();
  await child.status;
  assert.equal(readProcessLink(child.pid, "ns/mnt"), undefined);
});
