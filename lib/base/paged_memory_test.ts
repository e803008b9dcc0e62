import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { PagedMemory } from "./paged_memory.ts";

const SIZE = (4 << 20) + 123;

/** Number and resident bytes of mapped unnamed files below the directory. */
function mappedBelow(dir: string): { files: number; residentBytes: number } {
  const found = { files: 0, residentBytes: 0 };
  let isOurs = false;
  for (const line of Deno.readTextFileSync("/proc/self/smaps").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) {
      isOurs = line.includes(` ${dir}/#`);
      if (isOurs) found.files++;
    }
    if (isOurs && line.startsWith("Rss:")) found.residentBytes += Number(/\d+/.exec(line)?.[0]) * 1024;
  }
  return found;
}

Deno.test("dropped pages are not resident, and are loaded again on access", () => {
  using dir = TempDir.make();
  using memory = new PagedMemory(dir.path);
  const bytes = memory.allocate(SIZE);
  assert.ok(bytes.every((byte) => byte === 0));
  bytes.forEach((_, k) => bytes[k] = k % 251);
  assert.ok(mappedBelow(dir.path).residentBytes >= SIZE);
  memory.dropPages();
  assert.deepEqual(mappedBelow(dir.path), { files: 1, residentBytes: 0 });
  assert.ok(bytes.every((byte, k) => byte === k % 251));
});

Deno.test("allocations are freed with the memory, and leave no file", () => {
  using dir = TempDir.make();
  let bytes: Uint8Array;
  {
    using memory = new PagedMemory(dir.path);
    bytes = memory.allocate(SIZE);
    assert.equal(mappedBelow(dir.path).files, 1);
  }
  assert.equal(bytes.length, 0);
  assert.equal(mappedBelow(dir.path).files, 0);
  assert.deepEqual([...Deno.readDirSync(dir.path)], []);
});

Deno.test("small allocations, and all where no file can be created, are ordinary memory", () => {
  using dir = TempDir.make();
  using memory = new PagedMemory(dir.path);
  assert.equal(memory.allocate(1000).length, 1000);
  using nowhere = new PagedMemory(dir.join("is-not-there"));
  const bytes = nowhere.allocate(SIZE);
  nowhere.dropPages();
  assert.equal(bytes.length, SIZE);
  assert.equal(mappedBelow(dir.path).files, 0);
});
