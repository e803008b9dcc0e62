import assert from "node:assert/strict";
import { entriesOf, xattrs as attributes } from "../../../tests/support/archive/tar_builder.ts";
import { S } from "../../../ffi/sys_stat.ts";
import { concatenate, fromByteString } from "../../base/bytes.ts";
import { emptyAttr } from "../../rafs/bootstrap.ts";
import { TarSink } from "./tar_sink.ts";

Deno.test("a hard link repeats all attributes of its file, since Docker sets them again", async () => {
  const pieces: Uint8Array[] = [];
  const write = (bytes: Uint8Array) => Promise.resolve(void pieces.push(bytes.slice()));
  const sink = new TarSink({ write, finish: () => Promise.resolve(), discard: () => Promise.resolve() });
  const attr = { ...emptyAttr(), mode: S.IFREG | 0o4755, uid: 7, gid: 8, mtime: 5, mtimeNsec: 6, nlink: 2 };
  const { xattrs } = attributes({ "security.capability": "c" });
  const common = { ino: 1, attr, target: fromByteString(""), xattrs };
  await sink.entry({ ...common, path: "f", linkTo: undefined });
  await sink.entry({ ...common, path: "g", linkTo: "f" });
  await sink.finish();
  const [file, link] = entriesOf(concatenate(pieces));
  assert.deepEqual(link, { ...file, type: "link", name: fromByteString("g"), linkName: fromByteString("f") });
});
