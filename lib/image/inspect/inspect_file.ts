/**
 * Describes one path of an image: attributes, extended attributes, and chunks or directory entries.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { NydusGdError } from "../../base/errors.ts";
import { joinPath, SLASH } from "../../base/path_bytes.ts";
import { type Bootstrap, CHUNK_FLAG, type ChunkRecord, emptyAttr, type Extent } from "../../rafs/bootstrap.ts";
import { effectiveBlobId } from "../../rafs/format/flags.ts";
import { pathBytes, pathText } from "../../rafs/path_text.ts";
import { fileExtents } from "../../rafs/walk.ts";
import { type EntryFacts, entryFacts } from "./entry_facts.ts";

/** One chunk of a file. Offsets and sizes in bytes. */
export interface ChunkFacts {
  readonly file_offset: number;
  readonly blob: string;
  /** Index in its blob. */
  readonly index: number;
  readonly bytes: number;
  /** Offset in the blob's address space, and so in its cache file. */
  readonly uncompressed_offset: number;
  /** Location in the blob; null if only the blob records it; 0 bytes for a member of a batch. */
  readonly compressed_offset: number | null;
  readonly compressed_bytes: number | null;
  readonly compressed: boolean | null;
  /** Hexadecimal; null if only the blob records it. */
  readonly digest: string | null;
}

/** The description of one path. */
export interface FileFacts extends EntryFacts {
  /** Inode number: v5's ino, v6's nid. */
  readonly inode: number;
  /** Values in base64, by name. */
  readonly xattrs: Readonly<Record<string, string>>;
  /** Only for a regular file. */
  readonly chunks?: readonly ChunkFacts[];
  /** Only for a directory. */
  readonly entries?: readonly EntryFacts[];
}

/**
 * Describes one path. Does not follow symbolic links.
 *
 * @param path absolute or relative to the root, as formatted by `pathText`
 * @throws {NydusGdError} "not-found"; {RafsError} for damage
 */
export function inspectFile(tree: Bootstrap, path: string, container: string | undefined): FileFacts {
  const { ino, names } = find(tree, path);
  const attr = emptyAttr();
  tree.attr(ino, attr);
  const type = attr.mode & S.IFMT;
  const xattrs = tree.hasXattrs ? [...tree.xattrs(ino)] : [];
  return {
    ...entryFacts(tree, joined(names), ino, attr),
    inode: ino,
    xattrs: Object.fromEntries(xattrs.map(([name, value]) => [pathText(name), value.toBase64()])),
    ...(type === S.IFREG ? { chunks: chunksOf(tree, [...fileExtents(tree, ino, attr.size)], container) } : {}),
    ...(type === S.IFDIR ? { entries: entriesOf(tree, ino, names) } : {}),
  };
}

function find(tree: Bootstrap, path: string): { ino: number; names: Uint8Array[] } {
  const names: Uint8Array[] = [];
  let ino = tree.rootIno;
  const attr = emptyAttr();
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    const name = pathBytes(part);
    tree.attr(ino, attr);
    const isFolder = (attr.mode & S.IFMT) === S.IFDIR;
    ino = isFolder ? tree.lookup(ino, name) : 0;
    if (ino === 0) {
      const state = isFolder
        ? `there is no ${pathText(joined([...names, name]))}`
        : `${pathText(joined(names))} is not a directory`;
      throw new NydusGdError("not-found", `Cannot inspect ${path}: ${state}`, {
        hint: "nydus-gd inspect --depth 3 IMAGE",
      });
    }
    names.push(name);
  }
  return { ino, names };
}

function joined(names: readonly Uint8Array[]): Uint8Array {
  return names.reduce(joinPath, Uint8Array.of(SLASH));
}

function entriesOf(tree: Bootstrap, dir: number, names: readonly Uint8Array[]): EntryFacts[] {
  const children: { name: Uint8Array; ino: number }[] = [];
  tree.readdir(dir, 0, (name, ino) => children.push({ name: name.slice(), ino }) > 0);
  const attr = emptyAttr();
  return children.map(({ name, ino }) => {
    tree.attr(ino, attr);
    return entryFacts(tree, joined([...names, name]), ino, attr);
  });
}

function chunksOf(tree: Bootstrap, extents: readonly Extent[], container: string | undefined): ChunkFacts[] {
  const records = recordsOf(tree, extents);
  return extents.map(({ blobIndex, chunkIndex, fileOffset, chunkOffset, length }) => {
    const blob = tree.blobs[blobIndex];
    const record = records.get(keyOf(blobIndex, chunkIndex));
    return {
      file_offset: fileOffset,
      blob: blob === undefined ? String(blobIndex) : effectiveBlobId(blob, container),
      index: chunkIndex,
      bytes: length,
      uncompressed_offset: chunkOffset,
      compressed_offset: record?.compressedOffset ?? null,
      compressed_bytes: record?.compressedSize ?? null,
      compressed: record === undefined ? null : (record.flags & CHUNK_FLAG.compressed) !== 0,
      digest: record?.digest.toHex() ?? null,
    };
  });
}

/** Returns the records of these chunks. */
function recordsOf(tree: Bootstrap, extents: readonly Extent[]): Map<string, ChunkRecord> {
  const wanted = new Set(extents.map(({ blobIndex, chunkIndex }) => keyOf(blobIndex, chunkIndex)));
  const records = new Map<string, ChunkRecord>();
  if (wanted.size === 0) return records;
  for (const record of tree.chunkRecords()) {
    const key = keyOf(record.blobIndex, record.chunkIndex);
    if (wanted.has(key) && !records.has(key)) records.set(key, { ...record });
  }
  return records;
}

function keyOf(blobIndex: number, chunkIndex: number): string {
  return `${blobIndex}:${chunkIndex}`;
}
