import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { MADV, Mapping, memfdCreate, viewAt } from "./sys_mman.ts";
import { ftruncate } from "./unistd.ts";

Deno.test("a mapping shows the bytes of the file and outlives the descriptor", () => {
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("f"), "hello".padEnd(5000, "."));
  const file = open(temp.join("f"), O.RDONLY);
  using mapping = Mapping.ofFile(file, 5000);
  file[Symbol.dispose]();
  assert.equal(new TextDecoder().decode(mapping.bytes.subarray(0, 5)), "hello");
  assert.equal(mapping.bytes.length, 5000);
  mapping.advise(MADV.RANDOM);
});

Deno.test("a mapping may start at any page of the file", () => {
  using temp = TempDir.make();
  const bytes = new Uint8Array(131072 + 3);
  bytes.set([1, 2, 3], 131072);
  Deno.writeFileSync(temp.join("f"), bytes);
  using file = open(temp.join("f"), O.RDONLY);
  using mapping = Mapping.ofFile(file, 3, { offset: 131072 });
  assert.deepEqual([...mapping.bytes], [1, 2, 3]);
  assert.throws(() => Mapping.ofFile(file, 3, { offset: 1 }), (e) => isErrno(e, "EINVAL"));
});

Deno.test("a shared mapping writes the file, a private one does not", () => {
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("f"), "abc");
  using file = open(temp.join("f"), O.RDWR);
  using own = Mapping.ofFile(file, 3, { writable: true });
  using shared = Mapping.ofFile(file, 3, { writable: true, shared: true });
  own.bytes[0] = 0x58;
  shared.bytes[1] = 0x59;
  assert.equal(Deno.readTextFileSync(temp.join("f")), "aYc");
});

Deno.test("a failed mmap reports its reason", () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDONLY);
  assert.throws(() => Mapping.ofFile(file, 0), { message: `Cannot mmap "fd ${file.raw}": EINVAL` });
  assert.throws(() => Mapping.ofFile(file, 1, { shared: true, writable: true }), (e) => isErrno(e, "EACCES"));
  using dir = open(temp.path, O.RDONLY);
  assert.throws(() => Mapping.ofFile(dir, 1), (e) => isErrno(e, "ENODEV"));
  assert.throws(() => Mapping.anonymous(2 ** 52), (e) => isErrno(e, "ENOMEM"));
});

Deno.test("views of a disposed mapping are empty, not dangling", () => {
  const mapping = Mapping.anonymous(8192);
  const { bytes, address } = mapping;
  const part = bytes.subarray(10, 20);
  viewAt(address + 10n, 10)[3] = 7;
  assert.equal(part[3], 7);
  mapping[Symbol.dispose]();
  mapping[Symbol.dispose]();
  assert.deepEqual([bytes.length, part.length], [0, 0]);
  assert.throws(() => mapping.bytes, /already unmapped/);
  assert.throws(() => mapping.address, /already unmapped/);
  assert.throws(() => mapping.advise(MADV.RANDOM), /already unmapped/);
});

Deno.test("ranges outside the mapping are refused without a system call", () => {
  using mapping = Mapping.anonymous(4096);
  for (const [offset, length] of [[-1, 1], [0, 4097], [4096, 1], [NaN, 1]] as const) {
    assert.throws(() => mapping.pin(offset, length), RangeError);
  }
  assert.throws(() => viewAt(0n, 1), RangeError);
});

Deno.test("a Worker accesses the memory by its address", async () => {
  using mapping = Mapping.anonymous(4096);
  const module = JSON.stringify(new URL("sys_mman.ts", import.meta.url).href);
  const source = `import { viewAt } from ${module};
    self.onmessage = ({ data }) => { viewAt(data, 4096)[9] = 42; self.postMessage(null); };`;
  const worker = new Worker(`data:application/typescript,${encodeURIComponent(source)}`, { type: "module" });
  try {
    await new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = reject;
      worker.postMessage(mapping.address);
    });
  } finally {
    worker.terminate();
  }
  assert.equal(mapping.bytes[9], 42);
});

Deno.test("a memory file is visible in every mapping of it, and locking it changes nothing", () => {
  using file = memfdCreate("shared");
  assert.equal(Deno.readLinkSync(`/proc/self/fd/${file.raw}`), "/memfd:shared (deleted)");
  ftruncate(file, 10_000);
  using first = Mapping.ofFile(file, 10_000, { shared: true, writable: true });
  first.bytes.fill(7);
  first.pin(0, 10_000);
  using second = Mapping.ofFile(file, 10_000, { shared: true, writable: true });
  second.pin(0, 10_000);
  assert.ok(second.bytes.every((byte) => byte === 7));
  assert.match(Deno.readTextFileSync("/proc/self/status"), /VmLck:\s+(2[04]|[3-9][0-9]|0) kB/);
});
