/**
 * For any tar, the converted image matches a simple model: a flat table of paths to which its entries are applied in
 * order.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { buildFrom, refusal, show } from "../../../tests/support/rafs/built_rafs.ts";
import { noise } from "../../../tests/support/image/convert_kit.ts";
import {
  device,
  dir,
  file,
  hardlink,
  symlink,
  tarOf,
  type TestEntry,
} from "../../../tests/support/archive/tar_builder.ts";
import { toByteString } from "../../base/bytes.ts";

const CHUNK = 4096;

/** Maximum number of symbolic links that the kernel follows in one lookup. */
const MAX_LINKS = 40;

/** Few names, so that collisions are frequent. */
const path = fc.array(fc.constantFrom("a", "b", "c", "\xff"), { minLength: 0, maxLength: 3 }).map((parts) =>
  parts.join("/")
);
const attributes = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 0xffff_ffff }),
  gid: fc.integer({ min: 0, max: 0xffff_ffff }),
  mtimeSec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  mtimeNsec: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 })),
  xattrs: fc.array(fc.tuple(fc.constantFrom("user.x", "trusted.y", "security.capability"), fc.uint8Array()), {
    maxLength: 2,
  }).map((pairs) => new Map(pairs)),
});
const content = fc.oneof(
  fc.constant(new Uint8Array(0)),
  fc.uint8Array({ maxLength: 20 }),
  fc.tuple(fc.nat({ max: 3 * CHUNK }), fc.nat({ max: 3 })).map(([length, seed]) => noise(length, seed)),
);
const anyEntry: fc.Arbitrary<TestEntry> = fc.oneof(
  fc.tuple(path, content, attributes).map(([name, bytes, fields]) => file(`./${name}`, bytes, fields)),
  fc.tuple(path, attributes).map(([name, fields]) => dir(`./${name}`, fields)),
  fc.tuple(path, fc.constantFrom("/", "", "../"), path, attributes).map(([name, start, target, fields]) =>
    symlink(`./${name}`, `${start}${target}` || ".", fields)
  ),
  fc.tuple(path, path, attributes).map(([name, target, fields]) => hardlink(`./${name}`, `./${target}`, fields)),
  fc.tuple(path, fc.nat({ max: 4095 }), fc.nat({ max: (1 << 20) - 1 })).map(([name, ...numbers]) =>
    device(`./${name}`, "block", ...numbers)
  ),
);

const partsOf = (name: Uint8Array) => toByteString(name).split("/").filter((part) => part !== "" && part !== ".");

/** Resolves a folder to a path without symbolic links, creating it if missing; undefined if it is not a folder. */
function folderOf(tree: Map<string, TestEntry>, parts: readonly string[], makes: boolean): string | undefined {
  let at = "";
  const pending = parts.map((name) => ({ name, makes }));
  let links = 0;
  while (pending.length > 0) {
    const { name, makes } = pending.shift() ?? assert.fail();
    if (name === "..") {
      at = at.slice(0, Math.max(0, at.lastIndexOf("/")));
      continue;
    }
    const found = tree.get(`${at}/${name}`)?.entry;
    if (found?.type === "symlink") {
      if (++links > MAX_LINKS) return undefined;
      pending.unshift(...partsOf(found.linkName).map((part) => ({ name: part, makes: false })));
      if (found.linkName[0] === 0x2f) at = "";
      continue;
    }
    if (found === undefined && makes) tree.set(`${at}/${name}`, dir("", { mtimeSec: 0 }));
    else if (found?.type !== "directory") return undefined;
    at += `/${name}`;
  }
  return at;
}

/** The model: applies the entries to a flat table of paths. */
function meaning(entries: readonly TestEntry[]): Map<string, TestEntry> | undefined {
  const tree = new Map<string, TestEntry>([["/", dir("")]]);
  const isFolder = (at: string) => tree.get(at)?.entry.type === "directory";
  for (const given of entries) {
    const item = { ...given, entry: { ...given.entry } };
    const place = (name: Uint8Array, makes: boolean) => {
      const parts = partsOf(name);
      const folder = folderOf(tree, parts.slice(0, -1), makes);
      return folder === undefined ? undefined : `${folder}/${parts.at(-1) ?? ""}`;
    };
    const isLink = item.entry.type === "link";
    const target = isLink ? tree.get(place(item.entry.linkName, false) ?? "") : item;
    if (target === undefined || (isLink && target.entry.type === "directory")) return undefined;
    const at = place(item.entry.name, true);
    if (at === undefined || at === "/" && target.entry.type !== "directory") return undefined;
    if (target.entry.type !== "directory" || !isFolder(at)) {
      for (const below of [...tree.keys()]) if (below.startsWith(`${at}/`)) tree.delete(below);
    }
    if (item.entry.type === "directory" && isFolder(at)) {
      item.entry.xattrs = new Map([...tree.get(at)?.entry.xattrs ?? [], ...item.entry.xattrs]);
    }
    tree.set(at, target);
    if (!isLink) continue;
    const { mode, uid, gid, mtimeSec, mtimeNsec, xattrs } = item.entry;
    const all = new Map([...target.entry.xattrs, ...xattrs]);
    Object.assign(target.entry, { mode, uid, gid, mtimeSec, mtimeNsec, xattrs: all });
  }
  return tree;
}

Deno.test("any tar yields the tree that its entries describe in order, or is refused if they are invalid", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyEntry, { maxLength: 25, size: "max" }), async (entries) => {
      // entries without effect are left out, except for the last one
      const sound: TestEntry[] = [];
      for (const item of entries) {
        if (meaning([...sound, item]) !== undefined) sound.push(item);
        else await refusal(...sound, item);
      }
      const expected = meaning(sound) ?? assert.fail();
      if (!sound.some(({ entry }) => toByteString(entry.name) === "./")) {
        expected.set("/", dir("", { mtimeSec: 0 }));
      }
      const shown = await show(await buildFrom(tarOf(...sound)));
      assert.deepEqual([...shown.keys()], [...expected.keys()].sort());
      for (const [at, { entry, content }] of expected) {
        const found = shown.get(at) ?? assert.fail();
        const { mode, uid, gid, mtime, mtimeNsec, target, xattrs: attributes, content: bytes } = found;
        assert.deepEqual({ mode: mode & 0o7777, uid, gid, mtime, mtimeNsec, target, attributes, bytes }, {
          mode: entry.type === "symlink" ? 0o777 : entry.mode, // as Linux has it
          uid: entry.uid,
          gid: entry.gid,
          mtime: entry.mtimeSec,
          mtimeNsec: entry.mtimeNsec,
          target: entry.type === "symlink" ? toByteString(entry.linkName) : "",
          attributes: Object.fromEntries([...entry.xattrs].map(([key, value]) => [key, value.toHex()]).sort()),
          bytes: toByteString(content),
        });
        const names = [...expected].filter(([, other]) => other.entry === entry).map(([name]) => name).sort();
        if (entry.type !== "directory") assert.deepEqual([found.nlink, found.link], [names.length, names[0]]);
      }
    }),
    { numRuns: 60 },
  );
});
