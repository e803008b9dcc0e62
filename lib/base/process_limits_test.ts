import assert from "node:assert/strict";
import { compareLimits, parseLimits } from "./process_limits.ts";

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max file size             1000000              unlimited            bytes
Max open files            64                   524288               files
`;

Deno.test("soft limits are read from the kernel's columns, here those of this process", async () => {
  assert.deepEqual(parseLimits(LIMITS), { files: 64, fileBytes: 1_000_000 });
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", "ulimit -S -n 300; ulimit -S -f 10; cat /proc/$$/limits"],
  }).output();
  const { files, fileBytes } = parseLimits(new TextDecoder().decode(stdout));
  assert.equal(files, 300);
  assert.ok(Number.isFinite(fileBytes), "sh counts in blocks of 512 or 1024 bytes");
});

Deno.test("each limit that is too low is named, with what raises it", () => {
  const low = compareLimits({ memoryBytes: 100e6, freeTasks: 3, tasks: 20 }, { files: 64, fileBytes: 1e6 });
  assert.deepEqual(low.map(({ message }) => message.replace(/:.*/, "")), [
    "memory is limited to 100 MB",
    "threads and processes are limited to 20",
    "open files are limited to 64",
    "files are limited to 1.00 MB",
  ]);
  for (const [index, key] of ["MemoryMax=", "TasksMax=", "LimitNOFILE=", "LimitFSIZE="].entries()) {
    assert.ok(low[index]?.remedy.includes(key));
  }
});

Deno.test("usual limits are no matter", () => {
  assert.deepEqual(compareLimits({}, { files: 1024, fileBytes: Infinity }), []);
  assert.deepEqual(compareLimits({ memoryBytes: 256 << 20, tasks: 100 }, { files: 1024, fileBytes: Infinity }), []);
});
