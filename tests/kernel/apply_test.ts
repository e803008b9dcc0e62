import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { AT } from "../../ffi/fcntl.ts";
import { major, minor, S, statat } from "../../ffi/sys_stat.ts";
import { getxattr, llistxattr } from "../../ffi/sys_xattr.ts";
import { toByteString } from "../../lib/base/bytes.ts";
import { hasCode, messageOf } from "../../lib/base/errors.ts";
import type { AppliedLayer } from "../../lib/layer/apply/apply.ts";
import { applyTar } from "../support/layer/apply_tar.ts";
import type { ListedEntry } from "../support/rafs/rafs_fixtures.ts";
import { cleanPath } from "../../lib/archive/entry_path.ts";
import { rootTest } from "../support/root_test.ts";
import {
  CAPABILITY,
  device,
  dir,
  fifo,
  file,
  hardlink,
  opaque,
  symlink,
  tarOf,
  type TestEntry,
  whiteout,
  xattrs,
} from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";

/** A folder to unpack into, next to a canary. */
class Layer implements Disposable {
  readonly #temp = TempDir.make();
  readonly path = this.#temp.join("diff");
  readonly canary = this.#temp.join("canary");

  constructor() {
    Deno.mkdirSync(this.path);
    Deno.mkdirSync(`${this.canary}/sub`, { recursive: true });
    Deno.writeTextFileSync(`${this.canary}/secret`, "untouched");
  }

  apply(...entries: TestEntry[]): AppliedLayer {
    return applyTar([tarOf(...entries)], this.path);
  }

  /** Content in short form: "dir", file contents, "-> target", "hidden" for whiteouts. */
  view(): Record<string, string> {
    const entries = listTree(this.path).filter(({ path }) => path !== "/");
    return Object.fromEntries(entries.map((entry) => [entry.path.slice(1), this.#shown(entry)]));
  }

  #shown({ path, type, target, rdev }: ListedEntry): string {
    const full = this.path + decodeURIComponent(path);
    if (type === "dir") return hasOpaque(full) ? "opaque dir" : "dir";
    if (type === "reg") return Deno.readTextFileSync(full);
    if (type === "lnk") return `-> ${target}`;
    return type === "chr" && rdev?.[0] === 0 && rdev[1] === 0 ? "hidden" : type;
  }

  [Symbol.dispose](): void {
    this.#temp[Symbol.dispose]();
  }
}

function hasOpaque(path: string): boolean {
  return llistxattr(path).some((name) => toByteString(name) === "trusted.overlay.opaque") &&
    toByteString(getxattr(path, "trusted.overlay.opaque")) === "y";
}

Deno.test("names are cleaned lexically, as in Docker", () => {
  const cases: [string, string | undefined][] = [
    ["a/b", "a/b"],
    ["./a//b/", "a/b"],
    ["/a", "a"],
    ["", ""],
    [".", ""],
    ["./", ""],
    ["a/../b", "b"],
    ["..", undefined],
    ["a/../../b", undefined],
    ["/../a", undefined],
    ["...", "..."],
    [".a/..b/c.", ".a/..b/c."],
  ];
  for (const [name, path] of cases) equal(cleanPath(name), path, name);
});

const table: [string, TestEntry[], Record<string, string>][] = [
  ["a file without its folder", [file("a/b/c", "1")], { a: "dir", "a/b": "dir", "a/b/c": "1" }],
  ["the later of two entries wins", [file("f", "1"), file("f", "22")], { f: "22" }],
  ["a file where a folder was", [dir("d"), file("d/f", "1"), file("d", "2")], { d: "2" }],
  ["a folder where a file was", [file("d", "1"), dir("d"), file("d/f", "2")], { d: "dir", "d/f": "2" }],
  ["a folder where a symlink was", [dir("e"), symlink("d", "e"), dir("d"), file("d/f")], {
    e: "dir",
    d: "dir",
    "d/f": "",
  }],
  ["a file below a symlink", [dir("e"), symlink("l", "/e"), file("l/f", "1")], { e: "dir", "e/f": "1", l: "-> /e" }],
  ["a symlink that is turned between two files", [
    dir("e"),
    dir("g"),
    symlink("l", "e"),
    file("l/f", "1"),
    symlink("l", "g"),
    file("l/f", "2"),
  ], { e: "dir", "e/f": "1", g: "dir", "g/f": "2", l: "-> g" }],
  ["./ and / in front", [dir("./"), file("./a", "1"), file("/b", "2")], { a: "1", b: "2" }],
  ["entries of the root", [file("./", "x"), symlink("d/..", "/etc"), file("f")], { f: "" }],
  ["a whiteout", [whiteout("d/x")], { d: "dir", "d/x": "hidden" }],
  ["a whiteout, then the file", [whiteout("f"), file("f", "1")], { f: "1" }],
  ["the file, then its whiteout: it stays", [file("f", "1"), whiteout("f")], { f: "1" }],
  ["a whiteout, then the folder", [whiteout("d"), dir("d"), file("d/f")], { d: "opaque dir", "d/f": "" }],
  ["a whiteout, then a file in the folder", [whiteout("d"), file("d/f")], { d: "opaque dir", "d/f": "" }],
  ["the folder, then its whiteout", [dir("d"), file("d/f"), whiteout("d")], { d: "opaque dir", "d/f": "" }],
  ["an opaque marker first", [opaque("d"), dir("d"), file("d/f")], { d: "opaque dir", "d/f": "" }],
  ["an opaque marker last", [dir("d"), file("d/f"), opaque("d")], { d: "opaque dir", "d/f": "" }],
  ["AUFS's own files", [file(".wh..wh.aufs"), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1"), file("g")], { g: "" }],
  ["hard links to AUFS's own files", [
    ...[dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "1")],
    ...[hardlink("a", ".wh..wh.plnk/1.2"), hardlink("b", "./.wh..wh.plnk/1.2")],
  ], { a: "1", b: "1" }],
  ["a name that only starts like a whiteout", [file(".whatever"), file(".wheel")], { ".whatever": "", ".wheel": "" }],
  ["a hard link over a file", [file("a", "1"), file("b", "2"), hardlink("b", "a")], { a: "1", b: "1" }],
  ["a hard link to itself, twice", [file("a", "1"), hardlink("b", "./a"), hardlink("b", "/a")], { a: "1", b: "1" }],
  ["a hard link to a symlink", [symlink("s", "x"), hardlink("t", "s")], { s: "-> x", t: "-> x" }],
  ["overlay's own attributes", [dir("d", xattrs({ "trusted.overlay.opaque": "y" }))], { d: "dir" }],
];

for (const [name, entries, want] of table) {
  rootTest(`unpacked: ${name}`, () => {
    using layer = new Layer();
    layer.apply(...entries);
    deepEqual(layer.view(), Object.fromEntries(Object.entries(want).sort(([a], [b]) => a < b ? -1 : 1)));
  });
}

rootTest("an opaque marker in the root is kept on the folder", () => {
  using layer = new Layer();
  layer.apply(opaque(""), file("f"));
  ok(hasOpaque(layer.path));
});

rootTest("owner, mode, time, device and attributes of every type are those of the tar", () => {
  using layer = new Layer();
  const fields = { uid: 1234, gid: 65534, mtimeSec: 5, mtimeNsec: 123_456_789 };
  layer.apply(
    dir("./", { mode: 0o1711, ...fields }),
    dir("d", { mode: 0o2750, ...fields, ...xattrs({ "user.on-dir": "v" }) }),
    file("d/f", "x", {
      mode: 0o6755,
      ...fields,
      ...xattrs({ "security.capability": CAPABILITY, "user.note": "a\0b" }),
    }),
    file("none", "x", { mode: 0 }),
    file("far", "x", { mtimeSec: 2 ** 33 }),
    file("early", "x", { uid: 0xffff_ffff, mtimeSec: -5 }),
    symlink("l", "d/f", { ...fields, ...xattrs({ "trusted.mine": "v" }) }),
    device("wide", "char", 511, 70_000),
    device("b", "block", 7, 259),
    fifo("p"),
  );
  const at = (name: string) => {
    const { mode, uid, gid, mtimeSec, mtimeNsec, rdev } = statat(AT.FDCWD, layer.path + name, AT.SYMLINK_NOFOLLOW);
    return [(mode & 0o7777).toString(8), uid, gid, mtimeSec, mtimeNsec, major(rdev), minor(rdev)];
  };
  deepEqual(at("").slice(0, 3), ["755", 0, 0], "an entry of the root is ignored");
  deepEqual(at("/d"), ["2750", 1234, 65534, 5, 123_456_789, 0, 0]);
  deepEqual(at("/d/f"), ["6755", 1234, 65534, 5, 123_456_789, 0, 0]);
  deepEqual(at("/none").slice(0, 2), ["0", 0]);
  equal(at("/far")[3], 2 ** 33);
  deepEqual(at("/early").slice(1, 5), [0, 0, 0, 0]);
  deepEqual(at("/l").slice(1, 5), [1234, 65534, 5, 123_456_789]);
  deepEqual(at("/wide").slice(5), [511, 70_000]);
  deepEqual(at("/b").slice(5), [7, 259]);
  equal(statat(AT.FDCWD, `${layer.path}/p`).mode & S.IFMT, S.IFIFO);
  const attributes = Object.fromEntries(listTree(layer.path).map(({ path, xattrs }) => [path, xattrs]));
  deepEqual(Object.keys(attributes["/d/f"] ?? {}), ["security.capability", "user.note"]);
  equal(attributes["/d/f"]?.["user.note"], btoa("a\0b"));
  deepEqual(Object.keys(attributes["/l"] ?? {}), ["trusted.mine"]);
});

rootTest("a hard link's entry describes its file anew, and an equal owner keeps its capabilities", () => {
  using layer = new Layer();
  layer.apply(
    file("f", "x", { mode: 0o644, uid: 1 }),
    hardlink("g", "f", { mode: 0o4755, uid: 7, gid: 8, mtimeNsec: 9, ...xattrs({ "user.b": "2" }) }),
    symlink("s", "f"),
    hardlink("t", "s", { uid: 7, gid: 8, mtimeNsec: 9 }),
    file("ping", "x", { uid: 7, ...xattrs({ "security.capability": CAPABILITY }) }),
    hardlink("ping6", "ping", { uid: 7 }),
  );
  const found = listTree(layer.path).map(({ path, mode, uid, gid, mtime_nsec, xattrs }) => {
    return [path, mode, uid, gid, mtime_nsec, Object.keys(xattrs ?? {}).join()];
  });
  deepEqual(found.slice(1), [
    ["/f", "4755", 7, 8, 9, "user.b"],
    ["/g", "4755", 7, 8, 9, "user.b"],
    ["/ping", "0644", 7, 0, 0, "security.capability"],
    ["/ping6", "0644", 7, 0, 0, "security.capability"],
    ["/s", "0777", 7, 8, 9, ""],
    ["/t", "0777", 7, 8, 9, ""],
  ]);
});

rootTest("the mode is that of the tar, whatever an access ACL grants", () => {
  // version 2, then tag, permissions and id of user, group and others
  const acl = "\x02\0\0\0" +
    ["\x01\0\x07\0", "\x04\0\x07\0", "\x20\0\x07\0"].map((entry) => `${entry}\xff\xff\xff\xff`).join("");
  const fields = { mode: 0o600, ...xattrs({ "system.posix_acl_access": acl }) };
  using layer = new Layer();
  layer.apply(dir("d", fields), file("f", "x", fields));
  deepEqual(listTree(layer.path).slice(1).map(({ mode }) => mode), ["0600", "0600"]);
});

rootTest("an attribute that the file system rejects is counted, not fatal", () => {
  using layer = new Layer();
  equal(layer.apply(symlink("l", "x", xattrs({ "user.no": "v" }))).skippedXattrs, 1);
});

rootTest("the size counts files and symbolic links, without replaced files, hard links once", () => {
  using layer = new Layer();
  const entries = [dir("d"), file("d/f", "x".repeat(1000)), hardlink("h", "d/f"), file("g", "12345"), file("g", "1")];
  equal(layer.apply(...entries, symlink("s", "abc")).sizeBytes, 1004);
});

rootTest("a bootstrap layer's digest covers the whole stream, including data after the end marker", () => {
  using layer = new Layer();
  const tar = tarOf(dir("./"), dir("image"), file(".wh..wh.aufs"), file("./image/image.boot", "x"));
  const rubbish = new Uint8Array(3000).fill(7);
  const digest = createHash("sha256").update(tar).update(rubbish).digest("hex");
  equal(applyTar([tar, rubbish], layer.path).diffId, `sha256:${digest}`);
  using ordinary = new Layer();
  equal(ordinary.apply(dir("image"), file("image/image.boot", "x"), whiteout("f")).diffId, undefined);
});

rootTest("group, setgid bit and default ACL of a folder are not inherited by its files", () => {
  const files = (folder: string) => [
    file(`${folder}/f`, "x", { mode: 0o666 }),
    file(`${folder}/w`, "x", { mode: 0o777 }),
    file(`${folder}/s`, "x", { mode: 0o4755 }),
    symlink(`${folder}/l`, "x"),
    device(`${folder}/c`, "char", 1, 3),
  ];
  // version 2, then tag, permissions and id of user, a named user, group, mask and others
  const acl = "\x02\0\0\0" +
    ["\x01\0\x07\0\xff\xff\xff\xff", "\x02\0\x07\0\x39\x05\0\0", "\x04\0\0\0\xff\xff\xff\xff"].join("") +
    ["\x10\0\x07\0\xff\xff\xff\xff", "\x20\0\0\0\xff\xff\xff\xff"].join("");
  using layer = new Layer();
  layer.apply(
    dir("plain"),
    ...files("plain"),
    dir("g", { gid: 77, mode: 0o2755 }),
    ...files("g"),
    dir("a", xattrs({ "system.posix_acl_default": acl })),
    ...files("a"),
  );
  const modes = { f: "666", w: "777", s: "4755", l: "777", c: "600" };
  for (const folder of ["plain", "g", "a"]) {
    for (const [name, mode] of Object.entries(modes)) {
      const stat = statat(AT.FDCWD, `${layer.path}/${folder}/${name}`, AT.SYMLINK_NOFOLLOW);
      deepEqual([(stat.mode & 0o7777).toString(8), stat.uid, stat.gid], [mode, 0, 0], `${folder}/${name}`);
    }
  }
});

rootTest("pieces of any size yield the same tree", () => {
  const tar = tarOf(dir("d"), file("d/f", "x".repeat(3000)), symlink("l", "d"), file("l/g", "y"));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), (size) => {
      using layer = new Layer();
      const pieces = Array.from(
        { length: Math.ceil(tar.length / size) },
        (_, i) => tar.slice(i * size, (i + 1) * size),
      );
      applyTar(pieces, layer.path);
      deepEqual(layer.view(), { d: "dir", "d/f": "x".repeat(3000), "d/g": "y", l: "-> d" });
    }),
    { numRuns: 20 },
  );
});

/** A path that goes up beyond any folder, then to `path`. */
const up = (path: string) => "../".repeat(40) + path.slice(1);

const hostile: [string, (canary: string) => TestEntry[]][] = [
  ["../ to a folder", (c) => [file(`${up(c)}/evil`, "x")]],
  ["../ after a folder", () => [dir("a"), file("a/../../../evil", "x")]],
  ["an absolute name", (c) => [file(`${c}/evil`, "x"), file(`${c}/secret`, "x")]],
  ["an entry named ..", () => [dir("..", { mode: 0 })]],
  ["a file through an absolute symlink", (c) => [symlink("l", c), file("l/evil", "x")]],
  ["a file through a relative symlink", (c) => [symlink("l", up(c)), file("l/evil", "x")]],
  ["a file through two symlinks", (c) => [symlink("l", ".."), symlink("m", `l/${up(c)}`), file("m/secret", "x")]],
  ["a folder through a symlink", (c) => [dir("a"), symlink("a/l", c), dir("a/l/sub", { mode: 0o777 })]],
  ["a file onto a symlink", (c) => [symlink("l", `${c}/secret`), file("l", "x")]],
  ["a folder onto a symlink", (c) => [symlink("l", c), dir("l", { mode: 0o777, uid: 9 }), file("l/evil")]],
  ["times through a symlink that takes a folder's place", (c) => [
    dir("l", { mtimeSec: 1 }),
    symlink("l", c, { mtimeSec: 2 }),
  ]],
  ["an attribute through a symlink", (c) => [symlink("l", `${c}/secret`, xattrs({ "trusted.evil": "x" }))]],
  ["a symlink through a symlink", (c) => [symlink("l", c), symlink("l/evil", "x")]],
  ["a device through a symlink", (c) => [symlink("l", c), device("l/evil", "char", 1, 3), fifo("l/evil2")]],
  ["the root as a symlink", (c) => [symlink(".", c), file("evil", "x")]],
  ["the root as a file", () => [file("./", "x"), file("../x")]],
  ["a hard link to the host, then written", (c) => [hardlink("h", `${up(c)}/secret`), file("h", "x")]],
  ["a hard link to an absolute name", (c) => [hardlink("h", `${c}/secret`), file("h", "x")]],
  ["a hard link through a symlink", (c) => [symlink("l", c), hardlink("h", "l/secret", { mode: 0o777 })]],
  ["a hard link to a symlink, then through it", (c) => [symlink("l", c), hardlink("h", "l"), file("h/evil")]],
  ["a hard link placed through a symlink", (c) => [file("f"), symlink("l", c), hardlink("l/evil", "f")]],
  ["a whiteout through a symlink", (c) => [symlink("l", c), whiteout("l/secret"), whiteout("l/sub")]],
  ["a whiteout by ../", (c) => [file(`${up(c)}/.wh.secret`)]],
  ["an opaque marker through a symlink", (c) => [symlink("l", c), opaque("l")]],
  ["a whiteout of .", () => [dir("a"), file("a/.wh..")]],
  ["a whiteout of ..", () => [dir("a"), file("a/.wh...")]],
  ["a whiteout of nothing", () => [file(".wh.")]],
  ["a whiteout with something below", () => [file("a/.wh../x")]],
];

for (const [name, entries] of hostile) {
  rootTest(`nothing outside changes: ${name}`, () => {
    using layer = new Layer();
    const before = listTree(layer.canary);
    try {
      layer.apply(...entries(layer.canary));
    } catch (error) {
      ok(hasCode(error, "invalid-image"), messageOf(error));
    }
    deepEqual(listTree(layer.canary), before);
  });
}

const refused: [string, TestEntry[] | Uint8Array, RegExp][] = [
  ["a hard link to nothing", [hardlink("h", "no/such")], /tar entry "h" at 0: hard link target "no\/such" is not in/],
  ["a hard link to a folder", [dir("d"), hardlink("h", "d")], /EPERM/],
  ["a file in the place of a folder", [file("d"), file("d/f")], /tar entry "d\/f" at 512: .*"d": it is not a folder/],
  ["a name of 256 bytes", [file("n".repeat(256))], /ENAMETOOLONG/],
  ["a device that no kernel has", [device("c", "char", 5000, 0)], /device is 5000:0/],
  ["a symlink to nowhere as a folder", [symlink("l", "no"), file("l/f")], /"l": it is not a folder/],
  ["a stream that ends in a file", tarOf(file("f", "x".repeat(9000))).subarray(0, 5000), /stream ends 4512 bytes/],
];

for (const [name, what, message] of refused) {
  rootTest(`refused by name: ${name}`, () => {
    using layer = new Layer();
    const tar = what instanceof Uint8Array ? what : tarOf(...what);
    throws(() => applyTar([tar], layer.path), (error) => {
      ok(hasCode(error, "invalid-image", "io"), String(error));
      return message.test(messageOf(error));
    });
  });
}

rootTest("no descriptor stays open after a failure within a file", async () => {
  using layer = new Layer();
  const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = open();
  const failures = 50;
  for (let i = 0; i < failures; i++) {
    await rejects(async () => {
      await Promise.resolve();
      applyTar([tarOf(dir(`d${i}`), file(`d${i}/f`, "x".repeat(9000))).subarray(0, 5000)], layer.path);
    });
  }
  ok(open() < before + failures / 2, `${before} descriptors became ${open()}`); // the runtime may open some, too
});
