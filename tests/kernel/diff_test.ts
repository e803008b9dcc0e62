import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { fsetxattr, lsetxattr } from "../../ffi/sys_xattr.ts";
import { MNT, mount, umount2 } from "../../ffi/sys_mount.ts";
import { O, open } from "../../ffi/fcntl.ts";
import { mknodat, S } from "../../ffi/sys_stat.ts";
import { concatenate, fromByteString, toByteString } from "../../lib/base/bytes.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { CHANGE_KIND, stackChanges } from "../../lib/layer/diff/changes.ts";
import { diffSize, diffTar } from "../../lib/layer/diff/diff.ts";
import { Differ } from "../../lib/layer/diff/differ.ts";
import { applyTar } from "../support/layer/apply_tar.ts";
import { rootTest } from "../support/root_test.ts";
import {
  CAPABILITY,
  device,
  dir,
  entriesOf,
  fifo,
  file,
  hardlink,
  namesOf,
  opaque,
  symlink,
  tarOf,
  type TestEntry,
  whiteout,
  xattrs,
} from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";

const NEVER = new AbortController().signal;

/** Layers in a temporary folder. */
class Layers implements Disposable {
  readonly #temp = TempDir.make();
  readonly #mounts: string[] = [];
  #count = 0;

  /** Makes a layer with the given entries. */
  layer(...entries: TestEntry[]): string {
    return this.applied(tarOf(...entries));
  }

  /** Makes a layer from an archive. */
  applied(archive: Uint8Array): string {
    const path = this.#temp.join(`layer${this.#count++}`);
    Deno.mkdirSync(path);
    applyTar([archive], path);
    return path;
  }

  /** Mounts the stack in the kernel; writable into the topmost layer. */
  mounted(layers: readonly string[]): string {
    const [upper, ...lowers] = layers;
    const work = this.#temp.join(`work${this.#count}`);
    const merged = this.#temp.join(`merged${this.#count++}`);
    Deno.mkdirSync(work);
    Deno.mkdirSync(merged);
    const features = "redirect_dir=off,metacopy=off,index=off";
    mount(
      "overlay",
      merged,
      "overlay",
      0,
      `${features},lowerdir=${lowers.join(":")},upperdir=${upper},workdir=${work}`,
    );
    this.#mounts.push(merged);
    return merged;
  }

  unmount(): void {
    for (const path of this.#mounts.splice(0)) umount2(path, MNT.DETACH);
  }

  [Symbol.dispose](): void {
    this.unmount();
    this.#temp[Symbol.dispose]();
  }
}

/** The tar of one layer's own files. */
const ownTar = (layer: string) => diffTar({ layers: [layer], below: [] });

/** {@link CAPABILITY} for the root of a user namespace: version 3, with the id of that root. */
const capabilityOfNamespace = "\x01\0\0\x03\0\x20" + "\0".repeat(14) + "\xa0\x86\x01\0";

/** One entry of each kind, in the order of a diff. */
function everything(): TestEntry[] {
  const note = xattrs({ "security.capability": CAPABILITY, "user.note": "a\0\nb" });
  return [
    file("-rf *", "x"),
    file("big", new Uint8Array(700_000).map((_, i) => i * 31 >> 3)),
    device("block", "block", 7, 259),
    device("char", "char", 1, 3),
    dir("d", { mode: 0o1777, uid: 5, gid: 6, ...xattrs({ "user.on-dir": "v" }) }),
    whiteout("d/gone"),
    file("d/f", "x", { uid: 1234, gid: 65534, mode: 0o4755, mtimeSec: -7, mtimeNsec: 5, ...note }),
    fifo("fifo"),
    hardlink("hard", "d/f"),
    file("latin1-\xe9\xff", "x"),
    file("n".repeat(255), "x"),
    dir("opaque"),
    opaque("opaque"),
    file("opaque/f", ""),
    symlink("symlink", "t".repeat(300)),
  ];
}

rootTest("a capability for one user namespace is in a tar as one for any, as in Docker", () => {
  using layers = new Layers();
  const upper = layers.layer(file("f", "x", xattrs({ "security.capability": capabilityOfNamespace })));
  const [entry] = entriesOf(concatenate(ownTar(upper)));
  deepEqual(entry?.xattrs.get("security.capability"), fromByteString(CAPABILITY));
});

rootTest("an unpacked layer is diffed to a tar that unpacks to the same", () => {
  using layers = new Layers();
  const first = layers.layer(...everything());
  const archive = concatenate(ownTar(first));
  deepEqual(namesOf(archive).toSorted(), namesOf(tarOf(...everything())).toSorted());
  const second = layers.applied(archive);
  deepEqual(withoutWhiteoutTimes(second), withoutWhiteoutTimes(first));
  deepEqual(concatenate(ownTar(second)), archive);
});

/** Omits what a diff does not restore: times of whiteouts, which are those of their creation, and the root. */
function withoutWhiteoutTimes(layer: string): unknown[] {
  return listTree(layer).filter(({ path }) => path !== "/").map((entry) =>
    entry.rdev?.[0] === 0 && entry.rdev[1] === 0 ? { ...entry, mtime: 0, mtime_nsec: 0 } : entry
  );
}

rootTest("a diff is in byte order, folders before their content, links after their file", () => {
  using layers = new Layers();
  const layer = layers.layer(
    file("b/z"),
    file("b.x"),
    file("a"),
    hardlink("B", "b/z"),
    whiteout("c"),
    symlink("\xff", "x"),
  );
  deepEqual(namesOf(concatenate(ownTar(layer))), [".wh.c", "B", "a", "b/", "b/z", "b.x", "\xff"]);
  const link = entriesOf(concatenate(ownTar(layer))).find(({ type }) => type === "link");
  equal(toByteString(link?.linkName ?? new Uint8Array()), "B");
});

rootTest("sockets and overlay's own attributes are omitted, redirects refused", () => {
  using layers = new Layers();
  const layer = layers.layer(file("f"), dir("d"));
  mknodat(-100, `${layer}/socket`, S.IFSOCK | 0o600, 0);
  lsetxattr(`${layer}/f`, "trusted.overlay.origin", fromByteString("x"));
  const entries = entriesOf(concatenate(ownTar(layer)));
  deepEqual(entries.map(({ name, xattrs }) => [toByteString(name), xattrs.size]), [["d/", 0], ["f", 0]]);
  lsetxattr(`${layer}/d`, "trusted.overlay.redirect", fromByteString("/e"));
  throws(() => concatenate(ownTar(layer)), (e) => hasCode(e, "unsupported"));
});

rootTest("an opaque root is in the diff, and hides lower layers in a comparison", () => {
  using layers = new Layers();
  const below = layers.layer(dir("d"), file("d/f", "1"));
  const top = layers.layer(opaque(""), file("g", "2"));
  deepEqual(namesOf(concatenate(ownTar(top))), [".wh..wh..opq", "g"]);
  deepEqual(changesOf([top, below], [below]), { "/d": "delete", "/g": "add" });
});

/** Changes as an object; they must be in order, and each path must occur once. */
function changesOf(stack: string[], below: string[]): Record<string, string> {
  return asObject(stackChanges({ layers: stack, below }));
}

function asObject(changes: readonly { path: string; kind: number }[]): Record<string, string> {
  const names = Object.fromEntries(Object.entries(CHANGE_KIND).map(([name, kind]) => [kind, name]));
  equal(new Set(changes.map(({ path }) => path)).size, changes.length);
  return Object.fromEntries(changes.map(({ path, kind }) => [path, names[kind] ?? "?"]));
}

type Work = (at: (path: string) => string) => void;
const write = (path: string, text: string) => Deno.writeTextFileSync(path, text);

const work: [string, Work, Record<string, string>][] = [
  ["nothing", () => {}, {}],
  ["a read", (at) => Deno.readTextFileSync(at("d/f")), {}],
  ["add", (at) => write(at("d/new"), ""), { "/d": "modify", "/d/new": "add" }],
  ["add in the root", (at) => write(at("new"), ""), { "/new": "add" }],
  ["add folders", (at) => Deno.mkdirSync(at("n/m"), { recursive: true }), { "/n": "add", "/n/m": "add" }],
  ["modify", (at) => write(at("d/f"), "longer"), { "/d": "modify", "/d/f": "modify" }],
  ["chmod", (at) => Deno.chmodSync(at("d/f"), 0o600), { "/d": "modify", "/d/f": "modify" }],
  ["chown of a folder", (at) => Deno.chownSync(at("d"), 1, 1), { "/d": "modify" }],
  ["delete", (at) => Deno.removeSync(at("d/f")), { "/d": "modify", "/d/f": "delete" }],
  ["delete a folder", (at) => Deno.removeSync(at("d"), { recursive: true }), { "/d": "delete" }],
  ["delete deep", (at) => Deno.removeSync(at("d/e/g")), { "/d": "modify", "/d/e": "modify", "/d/e/g": "delete" }],
  ["rename", (at) => Deno.renameSync(at("d/f"), at("moved")), { "/d": "modify", "/d/f": "delete", "/moved": "add" }],
  ["add and delete again", (at) => {
    write(at("d/tmp"), "");
    Deno.removeSync(at("d/tmp"));
  }, {}],
  ["a folder replaced by a folder", (at) => {
    Deno.removeSync(at("d"), { recursive: true });
    Deno.mkdirSync(at("d"), { mode: 0o755 });
    write(at("d/new"), "");
  }, { "/d": "modify", "/d/e": "delete", "/d/f": "delete", "/d/new": "add" }],
  ["a file replaced by a folder", (at) => {
    Deno.removeSync(at("d/f"));
    Deno.mkdirSync(at("d/f"));
  }, { "/d": "modify", "/d/f": "modify" }],
  ["a folder replaced by a symlink", (at) => {
    Deno.removeSync(at("d/e"), { recursive: true });
    Deno.symlinkSync("f", at("d/e"));
  }, { "/d": "modify", "/d/e": "modify" }],
  ["a hard link", (at) => Deno.linkSync(at("d/f"), at("d/hard")), { "/d": "modify", "/d/hard": "add" }],
  ["a capability", (at) => {
    using fd = open(at("d/f"), O.WRONLY);
    fsetxattr(fd, "security.capability", fromByteString(CAPABILITY));
  }, { "/d": "modify", "/d/f": "modify" }],
];

for (const [name, does, want] of work) {
  rootTest(`changes in a container: ${name}`, () => {
    using layers = new Layers();
    const lowers = [
      layers.layer(),
      layers.layer(dir("d"), dir("d/e"), file("d/e/g", "y")),
      layers.layer(dir("d"), file("d/f", "x")),
    ];
    const upper = layers.layer();
    const merged = layers.mounted([upper, ...lowers]);
    does((path) => `${merged}/${path}`);
    const expected = Object.entries(want).sort(([a], [b]) => a < b ? -1 : 1);
    deepEqual(Object.entries(changesOf([upper, ...lowers], lowers)), expected, "while mounted");
    // The kernel's own view of both stacks is the oracle.
    const old = layers.mounted([layers.layer(), ...lowers]);
    deepEqual(changesOf([merged], [old]), want, "compared as mounted trees");
    layers.unmount();
    deepEqual(changesOf([upper, ...lowers], lowers), want, "after the unmount");

    // A commit: the diff on top of the image is the container.
    const committed = layers.applied(concatenate(diffTar({ layers: [upper, ...lowers], below: lowers })));
    const view = (stack: string[]) => listTree(layers.mounted(stack)).filter(({ path }) => path !== "/");
    deepEqual(view([layers.layer(), committed, ...lowers]), view([layers.layer(), upper, ...lowers]));
  });
}

rootTest("everything in the lowest layer is an addition", () => {
  using layers = new Layers();
  deepEqual(changesOf([layers.layer(dir("d"), file("d/f", "x"))], []), { "/d": "add", "/d/f": "add" });
});

/** Omits what a diff lacks: the root, and the link count of folders, which depends on overlayfs merging them. */
function withoutRoot(tree: ReturnType<typeof listTree>): unknown[] {
  return tree.filter(({ path }) => path !== "/").map((entry) => entry.type === "dir" ? { ...entry, nlink: 0 } : entry);
}

rootTest("a diff against any ancestor restores the layer on top of it", () => {
  using layers = new Layers();
  const one = layers.layer(dir("d"), file("d/a", "1"), file("x", "1"), dir("same"), file("same/f"));
  const two = layers.layer(dir("d"), file("d/b", "2"), whiteout("x"), file("kept", "12345"));
  const three = layers.layer(dir("d"), file("d/c", "3"), whiteout("d/a"));
  const stack = [three, two, one];
  const want = listTree(layers.mounted([layers.layer(), ...stack]));
  for (const below of [[two, one], [one], []]) {
    const archive = concatenate(diffTar({ layers: stack, below }));
    const rebuilt = layers.applied(archive);
    const lowers = below.length === 0 ? [layers.layer()] : below;
    const got = listTree(layers.mounted([layers.layer(), rebuilt, ...lowers]));
    deepEqual(withoutRoot(got), withoutRoot(want), `${below.length} layers below`);
    ok(below.length === 0 || !namesOf(archive).includes("same/f"));
  }
  deepEqual(namesOf(concatenate(diffTar({ layers: stack, below: [one] }))), [
    ".wh.x",
    "d/",
    "d/.wh.a",
    "d/b",
    "d/c",
    "kept",
  ]);
});

rootTest("a change with equal size and time is in the diff", () => {
  using layers = new Layers();
  const base = layers.layer(file("f", "x"));
  const middle = layers.layer(file("f", "y"));
  const top = layers.layer(file("g"));
  deepEqual(namesOf(concatenate(diffTar({ layers: [top, middle, base], below: [base] }))), ["f", "g"]);
});

rootTest("what vanishes or is replaced while a tar is written is left out, or is what it is by then", () => {
  const entries = [
    file("a", new Uint8Array(700_000)),
    file("gone"),
    symlink("link", "x"),
    dir("lost"),
    file("lost/f"),
    file("new", "old"),
  ];
  for (const isStack of [false, true]) {
    using layers = new Layers();
    const upper = layers.layer(...entries);
    const tar = diffTar(
      isStack ? { layers: [upper], below: [layers.layer(file("other"))] } : { layers: [upper], below: [] },
    );
    const { value: first } = tar.next();
    ok(first);
    for (const name of ["gone", "link", "lost"]) Deno.removeSync(`${upper}/${name}`, { recursive: true });
    Deno.writeTextFileSync(`${upper}/new.tmp`, "other content");
    Deno.renameSync(`${upper}/new.tmp`, `${upper}/new`);
    const archive = concatenate([first, ...tar]);
    deepEqual(namesOf(archive).filter((name) => !name.startsWith(".wh.")), ["a", "new"]);
    equal(Deno.readTextFileSync(`${layers.applied(archive)}/new`), "other content");
  }
});

rootTest("the size counts differing files only, each inode once", () => {
  using layers = new Layers();
  const base = layers.layer(dir("d"), file("d/f", "x".repeat(1000)), file("g", "12345"), hardlink("h", "d/f"));
  const child = layers.layer(whiteout("g"), file("i", "123"), symlink("s", "ab"));
  equal(diffSize({ layers: [base], below: [] }), 1005);
  equal(diffSize({ layers: [child, base], below: [base] }), 5);
  equal(diffSize({ layers: [child, base], below: [] }), 1005);
  equal(diffSize({ layers: [base, child], below: [base] }), diffSize({ layers: [base, child], below: [base] }));
});

rootTest("folders are merged as in the kernel", () => {
  using layers = new Layers();
  const stack = [
    layers.layer(dir("a"), file("a/1"), dir("b"), file("c")),
    layers.layer(dir("a"), opaque("a"), file("a/2"), whiteout("b"), dir("c"), file("c/x")),
    layers.layer(dir("a"), file("a/3"), dir("b"), file("b/4"), dir("c"), file("c/5"), whiteout("e")),
    layers.layer(dir("e"), file("e/6"), symlink("f", "a")),
  ];
  const seen = (tree: string) => Object.keys(changesOf([tree], []));
  const merged = seen(layers.mounted([layers.layer(), ...stack]));
  deepEqual(Object.keys(changesOf(stack, [])), merged);
});

rootTest("a Worker yields the same tar, list and size, and reports failures before the stream", async () => {
  using layers = new Layers();
  using differ = new Differ();
  const base = layers.layer(file("f", "x"), dir("d"));
  const top = layers.layer(file("d/big", new Uint8Array(1_500_000).fill(7)), whiteout("f"));
  const pair = { layers: [top, base], below: [base] };
  const stream = await differ.tar(pair, NEVER);
  deepEqual(
    new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer()),
    concatenate(diffTar(pair)),
  );
  deepEqual(await differ.changes(pair, NEVER), stackChanges(pair));
  equal(await differ.sizeBytes(pair, NEVER), 1_500_000);

  await (await differ.tar(pair, NEVER)).cancel();
  await rejects(differ.tar({ layers: [`${top}/no`, base], below: [base] }, NEVER), (e) => hasCode(e, "io"));
  const abort = new AbortController();
  const reader = (await differ.tar(pair, abort.signal)).getReader();
  await reader.read();
  abort.abort();
  await rejects(async () => {
    while (!(await reader.read()).done);
  }, (e) => hasCode(e, "interrupted"));
  equal(await differ.sizeBytes(pair, NEVER), 1_500_000);
});
