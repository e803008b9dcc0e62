import { deepEqual } from "node:assert/strict";
import { pax, special } from "../../tests/support/archive/tar_blocks.ts";
import { file, tarOf, type TestEntry } from "../../tests/support/archive/tar_builder.ts";
import { concatenate, fromByteString, toByteString } from "../base/bytes.ts";
import { layerReader } from "./layer_reader.ts";
import type { TarEntry } from "./tar.ts";

/** What a layer's tar is understood to have. */
function read(archive: Uint8Array): TestEntry[] {
  const found: TestEntry[] = [];
  const reader = layerReader({
    entry: (entry) => found.push({ entry, content: new Uint8Array(entry.sizeBytes) }),
    data: (piece, offset) => found.at(-1)?.content.set(piece, offset),
    endEntry: () => {},
  });
  reader.push(archive);
  reader.finish();
  return found;
}

const textsOf = (found: readonly TestEntry[]) =>
  found.map(({ entry, content }) => [toByteString(entry.name), toByteString(content)]);

Deno.test("entries of the root are ignored with their data, whatever their type", () => {
  const roots = ["./", "/", ".", "a/..", "a/./b/../..", "//"].map((name) => file(name, "root"));
  const others = ["a", "a.", "..", "../", "a/../..", "../a/..", "./.a", "...", "a/"].map((name) => file(name, "other"));
  deepEqual(textsOf(read(tarOf(...roots, ...others))), textsOf(others));
});

Deno.test("times that Docker does not have become 1970", () => {
  const times: [Partial<TarEntry>, [number, number]][] = [
    [{ mtimeSec: -1, mtimeNsec: 999_999_999 }, [0, 0]],
    [{ mtimeSec: 0, mtimeNsec: 1 }, [0, 1]],
    [{ mtimeSec: 9_223_372_036, mtimeNsec: 854_775_807 }, [9_223_372_036, 854_775_807]],
    [{ mtimeSec: 9_223_372_036, mtimeNsec: 854_775_808 }, [0, 0]],
    [{ mtimeSec: 9_223_372_037 }, [0, 0]],
    [{ mtimeSec: 2n ** 63n - 1n }, [0, 0]],
  ];
  const found = read(tarOf(...times.map(([time], k) => file(`${k}`, "", time))));
  deepEqual(found.map(({ entry }) => [entry.mtimeSec, entry.mtimeNsec]), times.map(([, shown]) => shown));
});

Deno.test("owners have 32 bits, and -1 is root", () => {
  const owners = [[-1, 0], [2 ** 32 - 1, 0], [-2, 2 ** 32 - 2], [2 ** 32 - 2, 2 ** 32 - 2], [2 ** 32 + 5, 5], [7, 7]];
  const found = read(concatenate(owners.flatMap(([id], k) => [
    special("x", pax([["uid", `${id}`], ["gid", `${id}`]])),
    tarOf(file(`${k}`, "")).subarray(0, 512),
  ])));
  deepEqual(found.map(({ entry: { uid, gid } }) => [uid, gid]), owners.map(([, id]) => [id, id]));
});

Deno.test("of extended headers the last one counts, and global ones and LIBARCHIVE's attributes do not", () => {
  const [found] = read(concatenate([
    special("g", pax([["uid", "7"], ["path", "renamed"], ["SCHILY.xattr.user.all", "1"]])),
    special("x", pax([["uid", "5"], ["SCHILY.xattr.user.first", "1"]])),
    special("x", pax([["gid", "+6"], ["SCHILY.xattr.user.last", "1"], ["LIBARCHIVE.xattr.user.c", "not base64!"]])),
    tarOf(file("a", "x", { uid: 3 })),
  ]));
  const { name, uid, gid, xattrs } = found?.entry ?? {};
  deepEqual([name, uid, gid, [...xattrs ?? []]], [fromByteString("a"), 3, 6, [["user.last", fromByteString("1")]]]);
});
