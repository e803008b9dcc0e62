import assert from "node:assert/strict";
import { ELF_UNITS, elfFile } from "../../../tests/support/image/elf_file.ts";
import { toByteString } from "../../base/bytes.ts";
import { elfDynamic, elfHeader, elfProgram, type FileRange } from "./elf.ts";

const UNIT = 4096;

function parse(bytes: Uint8Array) {
  const part = ({ offset, size }: FileRange) => bytes.subarray(offset, offset + size);
  const nameAt = (at: number) => toByteString(bytes.subarray(at, bytes.indexOf(0, at)));
  const header = elfHeader(bytes);
  assert.ok(header !== undefined);
  const program = elfProgram(header, part(header.programHeaders));
  const { interpreter, dynamic } = program;
  assert.ok(dynamic !== undefined);
  const { needed, searchPaths, loaded } = elfDynamic(program, part(dynamic));
  return {
    machine: header.machine,
    interpreter: interpreter && nameAt(interpreter.offset),
    needed: needed.map(nameAt),
    searchPaths: searchPaths.map(nameAt),
    loaded,
  };
}

Deno.test("libraries, interpreter and loaded ranges are read for every class and byte order", () => {
  for (const wide of [true, false]) {
    for (const littleEndian of [true, false]) {
      const bytes = elfFile({
        ...{ wide, littleEndian, machine: 183, entry: true, type: 2 },
        interpreter: "/lib/ld.so",
        needed: ["liba.so", "libb.so.1"],
        runpath: "/opt/lib:$ORIGIN",
      });
      const { loaded, ...parsed } = parse(bytes);
      assert.deepEqual(parsed, {
        machine: 183,
        interpreter: "/lib/ld.so",
        needed: ["liba.so", "libb.so.1"],
        searchPaths: ["/opt/lib:$ORIGIN"],
      });
      const offsets = loaded.map(({ offset, size }) => [offset / UNIT, size]);
      const { relocations, code, data } = ELF_UNITS;
      assert.deepEqual(offsets, [
        [relocations, UNIT],
        [2048 / UNIT, 512], // symbols
        [data, UNIT], // relro
        [data + 1 + 63 / UNIT, 1], // the page that is cleared behind the data
        [code, 1], // DT_INIT
        [code, 1], // the entry
      ]);
    }
  }
});

Deno.test("a file that is not an ELF program or library yields nothing", () => {
  const good = elfFile();
  assert.equal(elfHeader(good.subarray(0, 63)), undefined);
  assert.equal(elfHeader(new Uint8Array(4096)), undefined);
  assert.equal(elfHeader(elfFile({ type: 1 })), undefined, "an object file");
  assert.equal(elfHeader(new TextEncoder().encode("#!/bin/sh\n".padEnd(100))), undefined);
});

Deno.test("a damaged header or dynamic section yields ranges within the file's segments, or none", () => {
  const good = elfFile({ interpreter: "/lib/ld.so", needed: ["liba.so"], entry: true });
  const places = [...Array(500).keys(), ...Array(160).keys().map((at) => ELF_UNITS.data * UNIT + 64 + at)];
  for (const at of places) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const bytes = good.slice();
      bytes[at] = value;
      const header = elfHeader(bytes);
      if (header === undefined) continue;
      const { offset, size } = header.programHeaders;
      const program = elfProgram(header, bytes.subarray(offset, offset + size));
      if (program.dynamic === undefined) continue;
      const section = bytes.subarray(program.dynamic.offset, program.dynamic.offset + program.dynamic.size);
      for (const range of elfDynamic(program, section).loaded) {
        assert.ok(range.size > 0 && Number.isSafeInteger(range.offset + range.size), `byte ${at} as ${value}`);
      }
    }
  }
});

Deno.test("a shell of this machine is linked with libraries that exist", async () => {
  const { interpreter, needed } = parse(await Deno.readFile("/bin/sh"));
  assert.ok(interpreter !== undefined && (await Deno.stat(interpreter)).isFile);
  assert.ok(needed.some((name) => name.startsWith("libc.")), needed.join(" "));
});
