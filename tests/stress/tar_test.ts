/**
 * Fuzzes layers: the tar reader in every dialect, and where the applier puts what a tar names.
 *
 * @module
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE, HEADER, MAX_NAME_BYTES, type TarEntry } from "../../lib/archive/tar.ts";
import { checksums } from "../../lib/archive/tar_header.ts";
import { TarReader } from "../../lib/archive/tar_reader.ts";
import { concatenate, fromByteString, toByteString } from "../../lib/base/bytes.ts";
import { geteuid } from "../../ffi/unistd.ts";
import { LayerUnpacking } from "../../lib/layer/apply/apply.ts";
import { NO_ID_MAPS } from "../../lib/layer/userns/id_maps.ts";
import { cleanPath } from "../../lib/archive/entry_path.ts";
import { type Field, Mutator, type Seed } from "../support/fuzz/mutate_bytes.ts";
import { fuzz } from "../support/fuzz/target.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { pax, rawHeader, special } from "../support/archive/tar_blocks.ts";
import {
  device,
  dir,
  fifo,
  file,
  hardlink,
  opaque,
  symlink,
  tarOf,
  whiteout,
  xattrs,
} from "../support/archive/tar_builder.ts";

const long = "long/".repeat(40) + "name";
const sparse10 = concatenate([
  special("x", pax([["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", "9000"]])),
  rawHeader({ name: "sparse", size: "00000002000", magic: "ustar\x0000" }),
  fromByteString("2\n0\n256\n8192\n256\n".padEnd(512, "\0")),
  new Uint8Array(512).fill(0x73),
]);
const sparse00 = concatenate([
  special("x", pax([["GNU.sparse.size", "5000"], ["GNU.sparse.offset", "100"], ["GNU.sparse.numbytes", "512"]])),
  rawHeader({ name: "old", size: "00000001000", magic: "ustar\x0000" }),
  new Uint8Array(512).fill(0x74),
]);
const gnu = concatenate([
  rawHeader({ name: "././@LongLink", typeFlag: "L", size: "00000000315", magic: "ustar  \0" }),
  fromByteString(long.padEnd(512, "\0")),
  rawHeader({ name: "cut", size: "00000000003", magic: "ustar  \0", mtime: "\x80\0\0\0\0\0\0\0\x5a\0\0\0" }),
  fromByteString("abc".padEnd(512, "\0")),
]);
const ARCHIVES: readonly Uint8Array[] = [
  tarOf(dir("d"), file("d/f", "text", { uid: 7 }), symlink("d/s", "../d/f"), hardlink("h", "d/f"), opaque("d")),
  tarOf(device("c", "char", 1, 3), fifo("p"), whiteout("gone"), file(long, "x".repeat(700)), symlink("l", long)),
  tarOf(file("x", "y", { mtimeSec: -5, mtimeNsec: 5, ...xattrs({ "user.a": "1", "security.capability": "\0\n=" }) })),
  concatenate([sparse10, new Uint8Array(1024)]),
  concatenate([sparse00, new Uint8Array(1024)]),
  concatenate([gnu, new Uint8Array(1024)]),
  concatenate([special("g", pax([["mtime", "1.5"], ["uid", "9"]])), rawHeader({ name: "v7" }), new Uint8Array(1024)]),
];

/** Numeric text in headers: single bytes and pairs of them. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let block = 0; block + BLOCK_SIZE <= bytes.length; block += BLOCK_SIZE) {
    if (bytes[block] === 0) continue;
    for (const key of ["size", "mode", "uid", "mtime", "typeFlag", "magic", "devMajor", "gnuSparse"] as const) {
      const [at, length] = HEADER[key];
      for (let i = 0; i < length; i += 4) fields.push({ at: block + at + i, size: length === 1 ? 1 : 4 });
    }
    for (const at of [0, 1, 2, 157, 345]) fields.push({ at: block + at, size: 1 });
  }
  return fields;
}

/** Fixes the checksum of everything that may be a header. */
function repairChecksums(bytes: Uint8Array<ArrayBuffer>): void {
  const [at] = HEADER.checksum;
  for (let block = 0; block + BLOCK_SIZE <= bytes.length; block += BLOCK_SIZE) {
    const header = bytes.subarray(block, block + BLOCK_SIZE);
    // only where the checksum is octal, or data of an archive would change
    if (!/^[0-7]{6}/.test(toByteString(header.subarray(at, at + 8)))) continue;
    header.set(fromByteString(checksums(header).unsigned.toString(8).padStart(6, "0") + "\0 "), at);
  }
}

const seeds: readonly Seed[] = ARCHIVES.map((bytes) => ({ bytes, fields: fieldsOf(bytes) }));
const archives = () => new Mutator(seeds, { repair: repairChecksums });

/** Events of a reader as text to compare, with checks. */
function eventsOf(archive: Uint8Array, pieceBytes: number): string[] {
  const events: string[] = [];
  let current: TarEntry | undefined;
  let position = 0;
  const reader = new TarReader({
    entry(entry) {
      assert.equal(current, undefined);
      assert.ok(!entry.name.includes(0) && entry.name.length <= MAX_NAME_BYTES && !entry.linkName.includes(0));
      assert.ok(Number.isSafeInteger(entry.sizeBytes) && entry.sizeBytes >= 0);
      assert.ok(entry.mtimeNsec >= 0 && entry.mtimeNsec < 1e9 && entry.mode >= 0 && entry.mode <= 0o7777);
      current = entry;
      position = 0;
      events.push(`${entry.type} ${entry.name.toHex()} ${entry.linkName.toHex()} ${entry.sizeBytes} ${entry.mtimeSec}`);
    },
    data(piece, offset) {
      assert.ok(current !== undefined && offset >= position && offset + piece.length <= current.sizeBytes);
      position = offset + piece.length;
      // adjacent pieces are joined, however they were split
      const last = events.at(-1) ?? "";
      if (last.startsWith(`data ${offset} `)) events.pop();
      const hex = last.startsWith(`data ${offset} `) ? last.split(" ")[2] ?? "" : "";
      events.push(`data ${position} ${hex}${piece.toHex()}`);
    },
    endEntry() {
      current = undefined;
      events.push("end");
    },
  });
  for (let at = 0; at < archive.length; at += pieceBytes) reader.push(archive.subarray(at, at + pieceBytes));
  reader.finish();
  return events;
}

fuzz(import.meta, {
  name: "tar",
  inputs: archives,
  open: () => (input) => {
    const whole = eventsOf(input, Math.max(1, input.length));
    if (input.length % 4 === 0) assert.deepEqual(eventsOf(input, 100 + input.length % 700), whole);
  },
});

fuzz(import.meta, {
  name: "names of a layer's files",
  inputs: () =>
    new TextMutator(["a/b/../c", "./a//b/", "/etc/passwd", "..", "a/.wh.b", ".wh..wh..opq"], {
      words: ["..", ".", "/", "//", "../", "/..", "./", ".wh."],
    }),
  open: () => (name) => {
    const path = cleanPath(name);
    if (path === undefined || path === "") return;
    assert.ok(path.split("/").every((part) => part !== "" && part !== "." && part !== ".."), JSON.stringify(path));
    assert.equal(cleanPath(path), path);
  },
});

const isRoot = geteuid() === 0;

fuzz(import.meta, {
  name: "layer unpacked to disk",
  inputs: archives,
  // each input creates, fills and removes a folder
  oneIn: 10,
  missing: isRoot ? undefined : "not root",
  open: (scratch) => {
    const canary = `${scratch}/canary`;
    Deno.mkdirSync(canary);
    Deno.writeTextFileSync(`${canary}/secret`, "untouched");
    return (input) => {
      const diff = `${scratch}/diff`;
      Deno.mkdirSync(diff);
      try {
        using unpacking = new LayerUnpacking(diff, NO_ID_MAPS);
        for (let at = 0; at < input.length; at += 4096) unpacking.push(input.subarray(at, at + 4096));
        unpacking.finish();
      } finally {
        Deno.removeSync(diff, { recursive: true });
        assert.deepEqual([...Deno.readDirSync(scratch)].map(({ name }) => name), ["canary"]);
        assert.equal(Deno.readTextFileSync(`${canary}/secret`), "untouched");
      }
    };
  },
});
