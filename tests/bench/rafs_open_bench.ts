/**
 * Measures a bootstrap of 200,000 inodes: opening it, and the calls that serve the kernel's requests.
 *
 * `deno bench -A tests/bench/rafs_open_bench.ts`. With `--v8-flags=--expose-gc` the printed heap figures exclude
 * garbage. The lower bound of a call is a bare DataView read.
 *
 * @module
 */
import { O, open } from "../../ffi/fcntl.ts";
import { Mapping } from "../../ffi/sys_mman.ts";
import { emptyAttr } from "../../lib/rafs/bootstrap.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { walkTree } from "../../lib/rafs/walk.ts";
import { BootstrapWriter } from "../../lib/rafs/v6/writer.ts";
import { TempDir } from "../support/temp_dir.ts";

const INODES = 200_000;
const CHUNK = 0x100000;
const encode = (text: string) => new TextEncoder().encode(text);

const collect = (globalThis as { gc?: () => void }).gc;
const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
/** Heap and external memory. Array buffers are freed one turn of the event loop after their owners. */
const memory = async () => {
  for (let pass = 0; pass < 3; pass++) {
    collect?.();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
};

/**
 * A tree like a distribution's: 100 entries per directory, files of one chunk, some larger, one directory of 20,000.
 */
function build(): Uint8Array<ArrayBuffer> {
  const writer = new BootstrapWriter({ chunkSize: CHUNK, compressor: "zstd", digester: "blake3" });
  const owner = { uid: 0, gid: 0, mtime: 1_700_000_000, mtimeNsec: 5 };
  const root = writer.addInode({ ...owner, mode: 0o040755 });
  const large = writer.addInode({ ...owner, mode: 0o040755 });
  writer.addEntry(root, encode("large"), large);
  let chunkIndex = 0;
  let directory = root;
  for (let inode = 2; inode < INODES; inode++) {
    if (inode % 100 === 2) {
      const next = writer.addInode({ ...owner, mode: 0o040755 });
      writer.addEntry(root, encode(`package-${inode}`), next);
      directory = next;
      continue;
    }
    const size = inode % 50 === 0 ? 5 * CHUNK : 9000;
    const chunks = Array.from({ length: Math.ceil(size / CHUNK) }, () => ({
      blobIndex: 0,
      chunkIndex,
      uncompressedOffset: chunkIndex++ * CHUNK,
    }));
    const file = writer.addInode({ ...owner, mode: 0o100644, size, chunks });
    writer.addEntry(inode % 10 === 0 ? large : directory, encode(`file-${inode}.txt`), file);
  }
  return writer.finish([{
    index: 0,
    id: "b".repeat(64),
    compressor: "zstd",
    digester: "blake3",
    chunkSize: CHUNK,
    chunkCount: chunkIndex,
    features: 0x4000_0005,
    compressedSize: 2 ** 39,
    uncompressedSize: chunkIndex * CHUNK,
    meta: { compressor: "none", offset: 2 ** 38, compressedSize: chunkIndex * 24, uncompressedSize: chunkIndex * 24 },
  }]);
}

/** The bootstrap as a mapping of a file already deleted. */
function mapped(): Mapping {
  using directory = TempDir.make();
  const path = directory.join("bootstrap");
  const startedMs = performance.now();
  Deno.writeFileSync(path, build());
  console.log(`written in ${(performance.now() - startedMs).toFixed(0)} ms`);
  using file = open(path, O.RDONLY);
  return Mapping.ofFile(file, Deno.statSync(path).size);
}

const mapping = mapped();
const before = await memory();
const startedOpening = performance.now();
const bootstrap = openBootstrap(mapping.bytes);
const openedMs = performance.now() - startedOpening;
const opened = await memory();
let entries = 0;
for (const _ of walkTree(bootstrap)) entries++;
const walked = await memory();
console.log(
  `${entries} entries in ${megabytes(mapping.length)}: first open ${openedMs.toFixed(2)} ms, ` +
    `${megabytes(opened - before)} beside the mapping when open, ${megabytes(walked - before)} after a walk`,
);

const attr = emptyAttr();
const large = bootstrap.lookup(bootstrap.rootIno, encode("large"));
const small = bootstrap.lookup(bootstrap.rootIno, encode("package-102"));
const nameInLarge = encode("file-100020.txt"),
  nameInSmall = encode("file-155.txt"),
  missing = encode("libmissing.so.1");
const fileInLarge = bootstrap.lookup(large, nameInLarge);
const bigFile = bootstrap.lookup(large, encode("file-150.txt"));
const view = new DataView(mapping.bytes.buffer, mapping.bytes.byteOffset, mapping.bytes.byteLength);
let sink = 0;

Deno.bench("open", { group: "open" }, () => void openBootstrap(mapping.bytes));
Deno.bench("floor: one DataView read", { group: "call" }, () => {
  sink += view.getUint32(1024, true);
});
Deno.bench("attr", { group: "call" }, () => bootstrap.attr(fileInLarge, attr));
Deno.bench("lookup among 98", { group: "call" }, () => {
  sink += bootstrap.lookup(small, nameInSmall);
});
Deno.bench("lookup among 20,000", { group: "call" }, () => {
  sink += bootstrap.lookup(large, nameInLarge);
});
Deno.bench("lookup of a missing name", { group: "call" }, () => {
  sink += bootstrap.lookup(large, missing);
});
Deno.bench("lookup of a directory", { group: "call" }, () => {
  sink += bootstrap.lookup(bootstrap.rootIno, encode("large"));
});
Deno.bench("extents of 128 KiB", { group: "call" }, () => {
  sink += bootstrap.extents(bigFile, CHUNK - 65536, 131072).length;
});
Deno.bench("readdir of 98 entries", { group: "readdir" }, () => {
  bootstrap.readdir(small, 0, (_name, ino) => (sink += ino) > 0);
});
Deno.bench("readdir of 20,000 entries", { group: "readdir" }, () => {
  bootstrap.readdir(large, 0, (_name, ino) => (sink += ino) > 0);
});
