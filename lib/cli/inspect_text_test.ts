import assert from "node:assert/strict";
import type { EntryFacts } from "../image/inspect/entry_facts.ts";
import type { ImageDescription } from "../image/inspect/inspect_image.ts";
import { fileLines, imageLines } from "./inspect_text.ts";

const ENTRY: EntryFacts = {
  path: "/bin/env",
  type: "file",
  mode: "4755",
  uid: 0,
  gid: 12,
  links: 2,
  size: 65_537,
  mtime: 1_700_000_000,
  mtime_nsec: 5,
};

Deno.test("a file is shown in the form of ls, with its chunks and attributes", () => {
  const chunk = {
    file_offset: 0,
    blob: "3f2a0b1c2d3e4f50",
    index: 7,
    bytes: 65_537,
    uncompressed_offset: 4096,
    compressed_offset: null,
    compressed_bytes: null,
    compressed: null,
    digest: null,
  };
  const xattrs = { "user.text": btoa("word"), "user.raw": btoa("\x00\xff") };
  assert.deepEqual(fileLines({ ...ENTRY, inode: 9, xattrs, chunks: [chunk] }), [
    "-rwsr-xr-x  0:12  65537  /bin/env",
    "inode 9, 2 links, mtime 2023-11-14T22:13:20.000000005Z",
    'xattr user.text = "word"',
    "xattr user.raw = base64 AP8=",
    "",
    "OFFSET  BYTES  BLOB          CHUNK  STORED AT  STORED  DIGEST",
    "0       65537  3f2a0b1c2d3e  7      -          -       -",
  ]);
});

Deno.test("links, devices and modes of every kind are shown", () => {
  const line = (more: Partial<EntryFacts>) => fileLines({ ...ENTRY, ...more, inode: 1, xattrs: {} })[0];
  assert.equal(line({ type: "symlink", mode: "0777", target: "/a", size: 2 }), "lrwxrwxrwx  0:12  2  /bin/env -> /a");
  assert.equal(line({ type: "char", mode: "0600", device: [1, 3] }), "crw-------  0:12  1,3  /bin/env");
  assert.equal(line({ type: "directory", mode: "1777" }), "drwxrwxrwt  0:12  65537  /bin/env");
  assert.equal(line({ type: "fifo", mode: "7000" }), "p--S--S--T  0:12  65537  /bin/env");
});

Deno.test("the parts of an image form a table, and text of the image cannot control the terminal", () => {
  const image: ImageDescription = {
    version: 5,
    bootstrap_bytes: 8192,
    chunk_size: 4096,
    flags: ["has-xattr"],
    layers: [{ digest: "sha256:ab", bytes: 5, kind: "bootstrap" }],
    blobs: [{
      id: "3f2a0b1c2d3e4f50",
      compressed_bytes: 500,
      uncompressed_bytes: 4096,
      compressor: "zstd",
      digester: "sha256",
      chunk_size: 4096,
      chunks: 2,
      used_chunks: 2,
      used_bytes: 1000,
      features: [],
    }],
    names: 2,
    inodes: { file: 1, directory: 1 },
    file_bytes: 1000,
    chunks: { references: 3, distinct: 2, distinct_bytes: 1000 },
    prefetch: ["/a\x1bb"],
    tree: [],
  };
  assert.deepEqual(imageLines(image).slice(0, 8), [
    "RAFS v5, bootstrap of 8.19 kB, chunks of 4.10 kB",
    "flags     has-xattr",
    "names     2: 1 file, 1 directory; 1.00 kB in files",
    "chunks    2 used 3 times: 1.00 kB",
    "prefetch  /a\\x1bb",
    "layer     sha256:ab 5 B bootstrap",
    "",
    "BLOB          STORED  PLAIN    RATIO  CHUNKS  COMPRESSOR  DIGESTER  FEATURES",
  ]);
  assert.match(imageLines(image)[8] ?? "", /^3f2a0b1c2d3e {2}500 B {3}1.00 kB {2}50 % {3}2 of 2 /);
});
