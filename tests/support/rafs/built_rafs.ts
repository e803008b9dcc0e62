/**
 * Images converted from archives, and a straightforward reader of their content.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { concatenate, toByteString } from "../../../lib/base/bytes.ts";
import { hasCode } from "../../../lib/base/errors.ts";
import type { Seconds } from "../../../lib/base/seconds.ts";
import { INLINE } from "../../../lib/image/convert/chunks/compress_pool.ts";
import { convertTree } from "../../../lib/image/convert/convert_tree.ts";
import { type Entries, fromTar } from "../../../lib/image/convert/layer/build_layer.ts";
import type { LayerBuilder } from "../../../lib/image/convert/layer/layer_builder.ts";
import { type RafsOptions, rafsOptions } from "../../../lib/image/convert/format/rafs_options.ts";
import type { Bootstrap } from "../../../lib/rafs/bootstrap.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import { MemoryBlob } from "./rafs_fixtures.ts";
import { tarOf, type TestEntry } from "../archive/tar_builder.ts";

/** An image in memory. */
export interface BuiltRafs {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly bootstrap: Bootstrap;
  readonly blob: Uint8Array<ArrayBuffer>;
  readonly blobId: string;
}

/** Converts `entries` in this thread. */
export async function buildWith(options: Partial<RafsOptions>, entries: Entries): Promise<BuiltRafs> {
  const pieces: Uint8Array[] = [];
  const rafs = rafsOptions(options);
  const write = (bytes: Uint8Array) => void pieces.push(bytes.slice());
  const { bootstrap: bytes, blobId, blobBytes } = await convertTree(entries, {
    rafs,
    compressor: INLINE,
    write,
  });
  const blob = concatenate(pieces);
  if (blob.length !== blobBytes) throw new Error(`${blob.length} bytes were written, ${blobBytes} are told`);
  if (createHash("sha256").update(blob).digest("hex") !== blobId) throw new Error("the blob has another id");
  return { bytes, bootstrap: openBootstrap(bytes), blob, blobId };
}

/** Converts what `visit` adds to the builder. */
export function buildVisited(chunkSize: number, visit: (builder: LayerBuilder) => void): Promise<BuiltRafs> {
  return buildWith({ chunkSize }, (builder) => Promise.resolve(visit(builder)));
}

/** Converts an archive that arrives in pieces. */
export function buildFrom(
  archive: Uint8Array,
  options: Partial<RafsOptions> = { chunkSize: 4096 },
  pieceBytes = 1000,
): Promise<BuiltRafs> {
  return buildWith(options, fromTar(pieces(archive, pieceBytes)));
}

/** Returns the error with which an archive of these entries is refused. */
export async function refusal(...entries: readonly TestEntry[]): Promise<Error> {
  try {
    await buildFrom(tarOf(...entries));
  } catch (error) {
    assert.ok(hasCode(error, "invalid-image", "unsupported"), String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was not refused" });
}

function* pieces(bytes: Uint8Array, pieceBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

/** What an image shows at one path. Strings hold bytes as Latin-1. */
export interface Shown {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Seconds;
  readonly mtimeNsec: number;
  readonly rdev: number;
  readonly nlink: number;
  readonly target: string;
  readonly content: string;
  readonly xattrs: Readonly<Record<string, string>>;
  /** First path of the same inode, in order. */
  readonly link: string;
}

/** Reads the whole tree by path ("/" is the root), verifying every chunk that a file uses. */
export async function show({ bootstrap, blob }: BuiltRafs): Promise<Map<string, Shown>> {
  const memory = bootstrap.blobs.map((descriptor) => MemoryBlob.open(bootstrap, descriptor, blob));
  const chunks = await Promise.all(memory.map(async (each) => {
    const all: Uint8Array[] = [];
    for (let i = 0; i < each.columns.count; i++) {
      // chunks that no file uses any more have no digest
      all.push(each.hasDigest(i) ? await each.chunk(i) : new Uint8Array(0));
    }
    return all;
  }));
  const links = new Map<number, string>();
  const shown = new Map<string, Shown>();
  const found = Array.from(
    walkTree(bootstrap),
    ({ path, ino, attr }) => ({ path: toByteString(path), ino, attr: { ...attr } }),
  );
  found.sort((a, b) => a.path < b.path ? -1 : 1);
  for (const { path, ino, attr } of found) {
    const link = links.get(ino) ?? path;
    links.set(ino, link);
    const { mode, uid, gid, mtime, mtimeNsec, rdev, nlink } = attr;
    const type = mode & 0o170000;
    const content = type !== 0o100000 ? [] : bootstrap.extents(ino, 0, attr.size).map((extent) => {
      const chunk = chunks[extent.blobIndex]?.[extent.chunkIndex] ?? new Uint8Array(0);
      return chunk.subarray(extent.blobOffset - extent.chunkOffset).subarray(0, extent.length);
    });
    const bytes = concatenate(content);
    if (type === 0o100000 && bytes.length !== attr.size) throw new Error(`${path} has ${bytes.length} of ${attr.size}`);
    shown.set(path, {
      ...{ mode, uid, gid, mtime, mtimeNsec, rdev, nlink },
      target: type === 0o120000 ? toByteString(bootstrap.readlink(ino)) : "",
      content: toByteString(bytes),
      xattrs: Object.fromEntries(
        [...bootstrap.xattrs(ino)].map(([key, value]) => [toByteString(key), value.toHex()]).sort(),
      ),
      link,
    });
  }
  return shown;
}
