import { deepEqual, equal, throws } from "node:assert/strict";
import tarStream from "tar-stream";
import { names, pax, rawHeader, readAll, special } from "../../tests/support/archive/tar_blocks.ts";
import { file, tarOf } from "../../tests/support/archive/tar_builder.ts";
import { concatenate, fromByteString, toByteString } from "../base/bytes.ts";
import { NydusGdError } from "../base/errors.ts";
import { BLOCK_SIZE, type TarEntry, tarEntry } from "./tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "./tar_writer.ts";

Deno.test("truncation within a header or data is an error, between entries or in padding it is not", () => {
  const first = tarOf(file("a", "x".repeat(700))).subarray(0, 3 * BLOCK_SIZE);
  const archive = concatenate([first, tarOf(file("b".repeat(150), "y", { mtimeNsec: 5 }))]);
  const lastData = archive.length - TAR_END.length - BLOCK_SIZE;
  for (let length = 0; length <= archive.length; length++) {
    const inFirstPadding = length >= BLOCK_SIZE + 700 && length <= first.length;
    const inLastPadding = length > lastData && length <= lastData + BLOCK_SIZE;
    const afterZeroBlock = length === archive.length - BLOCK_SIZE || length === archive.length;
    const read = () => readAll(archive.subarray(0, length));
    if (length === 0 || inFirstPadding || inLastPadding || afterZeroBlock) read();
    else throws(read, /stream ends|not followed by an entry/, `cut at ${length}`);
  }
});

Deno.test("data after the end marker is ignored", () => {
  const archive = concatenate([tarOf(file("a", "x")), fromByteString("rubbish".repeat(500))]);
  deepEqual(names(readAll(archive)), ["a"]);
});

Deno.test("an empty stream is an archive without entries", () => equal(readAll(new Uint8Array(0)).length, 0));

Deno.test("a header after a single zero block is refused", () => {
  throws(
    () => readAll(concatenate([new Uint8Array(512), tarOf(file("a", ""))])),
    /at 512: it follows a single zero block/,
  );
});

Deno.test("a wrong checksum is reported with its offset", () => {
  const archive = tarOf(file("a", "x"), file("b", "y"));
  archive[1024] = 0x7a;
  throws(() => readAll(archive), /Cannot read tar header at 1024: checksum is \d+, expected \d+/);
  throws(() => readAll(fromByteString("not a tar\n".repeat(100))), NydusGdError);
});

Deno.test("a checksum over signed bytes is accepted", () => {
  deepEqual(names(readAll(concatenate([rawHeader({ name: "latin1-\xe9\xff" }, true), TAR_END]))), ["latin1-\xe9\xff"]);
});

Deno.test("old v7 headers without magic, with type NUL, with a directory marked by its slash are read", () => {
  const archive = concatenate([
    rawHeader({ name: "d/", typeFlag: "\0" }),
    rawHeader({ name: "d/f", typeFlag: "\0" }),
    TAR_END,
  ]);
  deepEqual(readAll(archive).map(({ entry }) => entry.type), ["directory", "file"]);
});

Deno.test("GNU long names and link targets apply to the next entry only", () => {
  const long = "n".repeat(3000);
  const archive = concatenate([
    special("L", fromByteString(long + "\0")),
    special("K", fromByteString("t".repeat(200) + "\0")),
    rawHeader({ name: "short", linkName: "short", typeFlag: "2", magic: "ustar  \0" }),
    rawHeader({ name: "next" }),
    TAR_END,
  ]);
  const [first, second] = readAll(archive);
  equal(first?.entry.name.length, 3000);
  equal(first?.entry.linkName.length, 200);
  deepEqual(second?.entry.name, fromByteString("next"));
});

Deno.test("GNU's atime and ctime in the prefix field are not part of the name, what is no time there is", () => {
  deepEqual(
    names(readAll(concatenate([rawHeader({ name: "f", magic: "ustar  \0", prefix: "13012345670" }), TAR_END]))),
    ["f"],
  );
  deepEqual(names(readAll(concatenate([rawHeader({ name: "f", magic: "ustar\x0000", prefix: "a/b" }), TAR_END]))), [
    "a/b/f",
  ]);
  const oldGo = rawHeader({ name: "f", magic: "ustar  \0", prefix: "a/b", mtime: "\x80\0\0\0\0\0\0\x02\0\0\0\0" });
  deepEqual(names(readAll(concatenate([oldGo, TAR_END]))), ["a/b/f"], "Go before 1.8");
  const noText = rawHeader({ name: "f", magic: "ustar  \0", prefix: "a/\xfc" });
  deepEqual(names(readAll(concatenate([noText, TAR_END]))), ["f"]);
  for (const magic of ["ustar\0\0\0", "ustar\0  "]) {
    deepEqual(names(readAll(concatenate([rawHeader({ name: "f", magic, prefix: "a/b" }), TAR_END]))), ["a/b/f"]);
  }
  const star = rawHeader({
    name: "f",
    magic: "ustar\x0000",
    starPrefix: "p".repeat(131) + "123",
    starTrailer: "tar\0",
  });
  deepEqual(names(readAll(concatenate([star, TAR_END]))), ["p".repeat(131) + "/f"]);
});

Deno.test("base-256 numbers are read: large, negative, beyond 2^53", () => {
  const number = (field: string) =>
    readAll(concatenate([rawHeader({ name: "f", mtime: field }), TAR_END]))[0]?.entry.mtimeSec;
  equal(number("\x80\0\0\0\0\0\0\x02\0\0\0\0"), 2 ** 33);
  equal(number("\xff".repeat(12)), -1);
  equal(number("\x80\0\0\0\x7f" + "\xff".repeat(7)), 2n ** 63n - 1n);
  equal(number("\xff\xff\xff\xff\x80" + "\0".repeat(7)), -(2n ** 63n));
  throws(() => number("\x80\0\0\0\x80" + "\0".repeat(7)), /mtime at 136: 9223372036854775808 exceeds 64 bits/);
  throws(() => readAll(rawHeader({ name: "f", uid: "\x80\x7f" + "\xff".repeat(6) })), /exceeds 2\^53-1/);
  throws(() => readAll(rawHeader({ name: "f", size: "\xff".repeat(12) })), /size is -1/);
  throws(() => readAll(rawHeader({ name: "f", uid: "12x" })), /uid at 108: 0x78 is not an octal digit/);
});

Deno.test("global PAX records apply to all later entries, local ones override, empty ones delete", () => {
  const archive = concatenate([
    special("g", pax([["uid", "7"], ["SCHILY.xattr.user.all", "1"]])),
    rawHeader({ name: "a" }),
    special("x", pax([["uid", "8"], ["path", "renamed"]])),
    rawHeader({ name: "b" }),
    special("x", pax([["uid", ""]])),
    rawHeader({ name: "c", uid: "0000003" }),
    TAR_END,
  ]);
  const read = readAll(archive);
  deepEqual(names(read), ["a", "renamed", "c"]);
  deepEqual(read.map(({ entry }) => entry.uid), [7, 8, 3]);
  deepEqual(read.map(({ entry }) => entry.xattrs.has("user.all")), [true, true, true]);
});

Deno.test("PAX times before 1970 and with more than nine decimals are read", () => {
  const time = (text: string) => {
    const entry = readAll(concatenate([special("x", pax([["mtime", text]])), rawHeader({ name: "f" }), TAR_END]))[0]
      ?.entry;
    return [entry?.mtimeSec, entry?.mtimeNsec];
  };
  deepEqual(time("-1.25"), [-2, 750_000_000]);
  deepEqual(time("-3"), [-3, 0]);
  deepEqual(time("1500000000.123456789999"), [1_500_000_000, 123_456_789]);
  deepEqual(time("5."), [5, 0]);
  deepEqual(time("9223372036854775807.5"), [2n ** 63n - 1n, 500_000_000]);
  deepEqual(time("-9007199254740992.25"), [-(2n ** 53n) - 1n, 750_000_000]);
  for (const far of ["9223372036854775808", "-9223372036854775808.5"]) throws(() => time(far), /mtime is "-?922/);
  throws(() => time("1e9"), /mtime is "1e9"/);
});

Deno.test("malformed PAX records are reported with their offset", () => {
  const read = (body: string) => () =>
    readAll(concatenate([special("x", fromByteString(body)), rawHeader({ name: "f" }), TAR_END]));
  throws(read("99 path=x\n"), /Cannot read PAX record at 512: it ends 89 bytes after its header/);
  throws(read("9 path=xx"), /no newline/);
  throws(read("6 =ab\n"), /no key/);
  throws(read("path=x\n"), /length is not a decimal number/);
  throws(read("12 path=a\0b\n"), /"path" contains NUL/);
  equal(read("")().length, 1);
});

Deno.test("libarchive's extended attributes are read, SCHILY's take precedence", () => {
  const records = pax([
    ["LIBARCHIVE.xattr.user.a%3Db", "AP8="],
    ["LIBARCHIVE.xattr.user.c", "AAAA"],
    ["SCHILY.xattr.user.c", "raw\n\0"],
  ]);
  const entry = readAll(concatenate([special("x", records), rawHeader({ name: "f" }), TAR_END]))[0]?.entry;
  deepEqual([...entry?.xattrs ?? []], [["user.a=b", new Uint8Array([0, 255])], ["user.c", fromByteString("raw\n\0")]]);
});

Deno.test("extended headers are limited to 1 MiB, names to 4095 bytes", () => {
  throws(() => readAll(rawHeader({ name: "x", typeFlag: "x", size: "00004000001" })), /exceeds 1048576/);
  const long = (length: number) =>
    readAll(concatenate([special("L", fromByteString("n".repeat(length))), rawHeader({}), TAR_END]));
  equal(long(4095).length, 1);
  throws(() => long(4096), /has 4096 bytes, 4095 at most/);
});

Deno.test("unsupported entry types, and extended headers without an entry, are refused by name", () => {
  throws(
    () => readAll(concatenate([rawHeader({ name: "v", typeFlag: "V" }), TAR_END])),
    /entry type "V" is not supported/,
  );
  throws(() => readAll(concatenate([special("x", pax([["uid", "1"]])), TAR_END])), /not followed by an entry/);
  throws(() => readAll(special("L", fromByteString("n"))), /not followed by an entry/);
});

Deno.test("sparse files of every dialect are read as the logical file", () => {
  const want = new Uint8Array(2000);
  want.set(fromByteString("abc"), 100);
  want.set(fromByteString("z"), 1999);
  const octal = (value: number) => value.toString(8).padStart(11, "0") + "\0";
  const data = concatenate([fromByteString("abcz"), tarPadding(4)]);
  const gnu = rawHeader({
    name: "f",
    typeFlag: "S",
    size: octal(4),
    magic: "ustar  \0",
    gnuSparse: octal(100) + octal(3) + octal(1999) + octal(1),
    gnuRealSize: octal(2000),
  });
  const extended = rawHeader({
    name: "f",
    typeFlag: "S",
    size: octal(4),
    gnuSparse: octal(100) + octal(3),
    gnuIsExtended: "\x01",
    gnuRealSize: octal(2000),
  });
  const extension = concatenate([fromByteString(octal(1999) + octal(1)), new Uint8Array(488)]);
  const plain = rawHeader({ name: "GNUSparseFile.1/f", size: octal(4) });
  const sparse01: [string, string][] = [
    ["GNU.sparse.size", "2000"],
    ["GNU.sparse.name", "f"],
    ["GNU.sparse.map", "100,3,1999,1"],
  ];
  const map = fromByteString("2\n100\n3\n1999\n1\n");
  const dialects: Record<string, Uint8Array> = {
    gnu: concatenate([gnu, data]),
    "gnu, extended": concatenate([extended, extension, data]),
    "0.0": concatenate([
      special(
        "x",
        pax([
          ["GNU.sparse.size", "2000"],
          ["GNU.sparse.numblocks", "2"],
          ["GNU.sparse.offset", "100"],
          ["GNU.sparse.numbytes", "3"],
          ["GNU.sparse.offset", "1999"],
          ["GNU.sparse.numbytes", "1"],
          ["path", "f"],
        ]),
      ),
      plain,
      data,
    ]),
    "0.1": concatenate([special("x", pax(sparse01)), plain, data]),
    "0.1, said": concatenate([
      special("x", pax([["GNU.sparse.major", "0"], ["GNU.sparse.minor", "1"], ...sparse01])),
      plain,
      data,
    ]),
    "1.0": concatenate([
      special(
        "x",
        pax([["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.name", "f"], [
          "GNU.sparse.realsize",
          "2000",
        ]]),
      ),
      rawHeader({ name: "GNUSparseFile.1/f", size: octal(516) }),
      map,
      tarPadding(map.length),
      data,
    ]),
  };
  for (const [dialect, archive] of Object.entries(dialects)) {
    for (const pieceBytes of [7, 512, 10_000]) {
      const [first] = readAll(concatenate([archive, TAR_END]), pieceBytes);
      deepEqual([toByteString(first?.entry.name ?? fromByteString("")), first?.content], ["f", want], dialect);
    }
  }
});

Deno.test("a GNU sparse map that fills the header and an extension block goes on in the next block", () => {
  const octal = (value: number) => value.toString(8).padStart(11, "0") + "\0";
  const segments = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => octal(3 * (from + i)) + octal(1)).join("");
  const extension = (from: number, to: number, more: string) => {
    const block = new Uint8Array(512);
    block.set(fromByteString(segments(from, to)));
    block.set(fromByteString(more), 504);
    return block;
  };
  for (const count of [4, 5, 25, 26, 48]) {
    const inHeader = 4, inExtension = 21;
    const extensions: Uint8Array[] = [];
    for (let at = inHeader; at < count; at += inExtension) {
      const to = Math.min(count, at + inExtension);
      extensions.push(extension(at, to, to < count ? "\x01" : "\0"));
    }
    const header = rawHeader({
      name: "f",
      typeFlag: "S",
      size: octal(count),
      gnuSparse: segments(0, inHeader),
      gnuIsExtended: count > inHeader ? "\x01" : "\0",
      gnuRealSize: octal(3 * count),
    });
    const data = new Uint8Array(count).fill(7);
    const [first] = readAll(concatenate([header, ...extensions, data, tarPadding(count), TAR_END]));
    const want = Uint8Array.from({ length: 3 * count }, (_, i) => i % 3 === 0 ? 7 : 0);
    deepEqual(first?.content, want, `${count} segments`);
  }
});

Deno.test("sparse maps that do not fit their file are refused", () => {
  const read = (records: [string, string][], size = 4) => () =>
    readAll(concatenate([
      special("x", pax([["GNU.sparse.size", "2000"], ...records])),
      rawHeader({ name: "f", size: size.toString(8).padStart(11, "0") }),
      new Uint8Array(512),
      TAR_END,
    ]));
  throws(read([["GNU.sparse.map", "0,3,2,1"]]), /segment 2\+1 does not fit after 3/);
  throws(read([["GNU.sparse.map", "1999,4"]]), /does not fit/);
  throws(read([["GNU.sparse.map", "0,3"]]), /map has 3 bytes, the data 4/);
  throws(read([["GNU.sparse.map", "0,4,9"]]), /no length/);
  throws(read([["GNU.sparse.map", "0,x"]]), /"x" is not a number/);
  throws(
    read([["GNU.sparse.major", "0"], ["GNU.sparse.minor", "2"], ["GNU.sparse.map", "0,4"]]),
    /GNU sparse version 0\.2 is not supported/,
  );
  throws(read([["GNU.sparse.major", "2"]]), /GNU sparse version 2\.0 is not supported/);
  throws(read([["GNU.sparse.major", "1"]], 512), /is not a number/);
});

Deno.test("tar-stream reads written archives, as far as it can represent them", async () => {
  const entries = [
    file("plain", "data"),
    file("n".repeat(200), "long name"),
    { entry: tarEntry({ type: "directory", name: fromByteString("d") }), content: new Uint8Array(0) },
    {
      entry: tarEntry({ type: "symlink", name: fromByteString("l"), linkName: fromByteString("t".repeat(150)) }),
      content: fromByteString(""),
    },
    {
      entry: tarEntry({ type: "link", name: fromByteString("h"), linkName: fromByteString("plain") }),
      content: fromByteString(""),
    },
    file("owner", "", { uid: 2_000_000, gid: 4, mode: 0o4755 }),
  ];
  const got: unknown[] = [];
  const extract = tarStream.extract();
  extract.on("entry", (header, stream, next) => {
    got.push([header.name, header.type, header.size, header.mode, header.uid, header.linkname ?? ""]);
    stream.on("end", next);
    stream.resume();
  });
  await new Promise<void>((resolve, reject) => {
    extract.on("finish", () => resolve());
    extract.on("error", reject);
    extract.end(tarOf(...entries));
  });
  deepEqual(
    got,
    entries.map(({ entry }) => [
      toByteString(entry.name) + (entry.type === "directory" ? "/" : ""),
      entry.type,
      entry.sizeBytes,
      entry.mode,
      entry.uid,
      toByteString(entry.linkName),
    ]),
  );
});

Deno.test("archives of tar-stream are read", async () => {
  const pack = tarStream.pack();
  const long = "d/" + "ü".repeat(120);
  pack.entry({ name: "d", type: "directory", mode: 0o1777 });
  pack.entry({ name: long, mtime: new Date(1_500_000_000_000), uid: 12, gid: 34 }, "content");
  pack.entry({ name: "c", type: "character-device", devmajor: 1, devminor: 3 });
  pack.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of pack) parts.push(part as Uint8Array);
  const read = readAll(concatenate([...parts]), 100);
  deepEqual(names(read), ["d", toByteString(new TextEncoder().encode(long)), "c"]);
  deepEqual(read.map(({ entry }) => [entry.type, entry.devMinor, entry.uid]), [
    ["directory", 0, 0],
    ["file", 0, 12],
    ["char", 3, 0],
  ]);
  deepEqual(read[1]?.content, fromByteString("content"));
});

Deno.test("entries that tar cannot represent are refused by the writer", () => {
  const refuse = (fields: Partial<TarEntry>, message: RegExp) =>
    throws(() => encodeTarHeader(tarEntry({ type: "file", name: fromByteString("f"), ...fields })), message);
  refuse({ name: fromByteString("") }, /name is empty/);
  refuse({ name: fromByteString("a\0b") }, /contains NUL/);
  refuse({ type: "symlink" }, /target of a symlink is empty/);
  refuse({ uid: -1 }, /uid is -1/);
  refuse({ mtimeNsec: 1e9 }, /mtime is/);
  refuse({ type: "fifo", sizeBytes: 1 }, /a fifo has 1 bytes/);
  refuse({ xattrs: new Map([["", fromByteString("")]]) }, /extended attribute/);
});
