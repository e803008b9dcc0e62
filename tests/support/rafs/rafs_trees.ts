/**
 * Random trees for bootstrap writers, and a comparable form of what a reader returns for a bootstrap.
 *
 * @module
 */
import fc from "fast-check";
import type { Seconds } from "../../../lib/base/seconds.ts";
import type { Bootstrap } from "../../../lib/rafs/bootstrap.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import { type BlobEntry, BootstrapWriter, type ChunkLocation, type InodeSpec } from "../../../lib/rafs/v6/writer.ts";

/** A name in a random tree, and what it names. */
export interface RandomNode {
  readonly directory: number;
  readonly name: Uint8Array;
  readonly type: number;
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Seconds;
  readonly mtimeNsec: number;
  readonly rdev: number;
  readonly size: number;
  readonly target: Uint8Array;
  readonly xattrs: readonly (readonly [string, Uint8Array])[];
  /** Makes the name a hard link to an earlier file. */
  readonly linkTo: number | undefined;
}

/** Chunk size of the images that {@link writeTree} writes. */
export const TREE_CHUNK = 4096;
const DIRECTORY = 0o040000, REGULAR = 0o100000, SYMLINK = 0o120000;

const byteIn = (except: readonly number[]) => fc.integer({ min: 1, max: 255 }).filter((byte) => !except.includes(byte));
const bytesOf = (except: readonly number[], maxLength: number) =>
  fc.array(byteIn(except), { minLength: 1, maxLength }).map((bytes) => Uint8Array.from(bytes));
/** Times where a number is not exact. */
const farTime = fc.oneof(
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
);
const name = fc.oneof(
  { weight: 4, arbitrary: bytesOf([0x2f], 12) },
  { weight: 1, arbitrary: bytesOf([0x2f], 255) },
).filter((bytes) => !(bytes[0] === 0x2e && (bytes.length === 1 || (bytes.length === 2 && bytes[1] === 0x2e))));
const xattr = fc.tuple(
  fc.oneof(
    fc.constantFrom("system.posix_acl_access", "system.posix_acl_default"),
    fc.tuple(fc.constantFrom("user.", "trusted.", "security."), fc.stringMatching(/^[a-z.]{1,40}$/)).map(([a, b]) =>
      a + b
    ),
  ),
  fc.uint8Array({ maxLength: 600 }),
);

/** Arbitrary lists of nodes; {@link writeTree} makes a tree of any list. */
export const randomTree: fc.Arbitrary<RandomNode[]> = fc.array(
  fc.record({
    directory: fc.nat({ max: 40 }),
    name,
    type: fc.constantFrom(DIRECTORY, DIRECTORY, REGULAR, REGULAR, SYMLINK, 0o010000, 0o020000, 0o060000, 0o140000),
    permissions: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 0xffff_ffff }),
    gid: fc.integer({ min: 0, max: 0xffff_ffff }),
    mtime: fc.oneof({ weight: 3, arbitrary: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }) }, farTime),
    mtimeNsec: fc.integer({ min: 0, max: 999_999_999 }),
    rdev: fc.integer({ min: 0, max: 0xffff_ffff }),
    size: fc.oneof(fc.constantFrom(0, 1, 4095, 4096, 4097, 8192), fc.nat({ max: 100_000 })),
    target: fc.oneof({ weight: 4, arbitrary: bytesOf([], 100) }, { weight: 1, arbitrary: bytesOf([], 4096) }),
    xattrs: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.uniqueArray(xattr, { maxLength: 8, selector: ([key]) => key }) },
    ),
    linkTo: fc.option(fc.nat({ max: 100 }), { nil: undefined, freq: 6 }),
  }),
  { maxLength: 120, size: "max" },
);

/** An entry in the form used by both sides. */
export interface PlainEntry {
  readonly path: string;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Seconds;
  readonly mtimeNsec: number;
  readonly rdev: number;
  readonly size: number;
  readonly target: string;
  readonly xattrs: Record<string, string>;
  readonly chunks: readonly string[];
  /** First path of the same inode. */
  readonly link: string;
}

const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);
const encode = (text: string) => new TextEncoder().encode(text);

/** A blob whose address space covers what {@link writeTree} refers to. */
export function treeBlob(index: number): BlobEntry {
  return {
    index,
    id: `blob-${index}`,
    compressor: "none",
    digester: "sha256",
    chunkSize: TREE_CHUNK,
    chunkCount: 1 << 20,
    features: 0x4000_0005,
    compressedSize: 2 ** 34,
    uncompressedSize: 2 ** 33,
    meta: { compressor: "none", offset: 2 ** 33, compressedSize: 24 << 20, uncompressedSize: 24 << 20 },
  };
}

/** The interface that the bootstrap writers of both versions share. */
export interface TreeWriter {
  addInode(spec: InodeSpec): number;
  addEntry(directory: number, name: Uint8Array, inode: number): void;
  finish(blobs: readonly BlobEntry[]): Uint8Array<ArrayBuffer>;
}

/**
 * Writes the tree described by the nodes; returns a listing derived from the nodes only.
 *
 * @param onChunk called for each chunk of a file with its size in bytes
 */
export function writeTree(
  nodes: readonly RandomNode[],
  writer: TreeWriter = new BootstrapWriter({ chunkSize: TREE_CHUNK, compressor: "none", digester: "sha256" }),
  onChunk: (chunk: ChunkLocation, size: number) => void = () => {},
): { bytes: Uint8Array<ArrayBuffer>; expected: PlainEntry[] } {
  interface Inode {
    entry: Omit<PlainEntry, "nlink" | "path" | "link">;
    paths: string[];
    subdirectories: number;
  }
  const inodes: Inode[] = [];
  const add = (node: RandomNode | undefined): number => {
    const type = node?.type ?? DIRECTORY;
    const mode = type | (node?.permissions ?? 0o755);
    const size = type === REGULAR ? node?.size ?? 0 : 0;
    const target = type === SYMLINK ? node?.target ?? encode("x") : new Uint8Array(0);
    const row = inodes.length;
    const chunks: ChunkLocation[] = Array.from({ length: Math.ceil(size / TREE_CHUNK) }, (_, k) => ({
      blobIndex: (row + k) % 2,
      chunkIndex: row * 50 + k,
      uncompressedOffset: (row * 50 + k) * TREE_CHUNK,
    }));
    chunks.forEach((chunk, k) => onChunk(chunk, Math.min(TREE_CHUNK, size - k * TREE_CHUNK)));
    const common = {
      mode,
      uid: node?.uid ?? 0,
      gid: node?.gid ?? 0,
      mtime: node?.mtime ?? 0,
      mtimeNsec: node?.mtimeNsec ?? 0,
    };
    const device = type === 0o020000 || type === 0o060000;
    const rdev = device ? node?.rdev ?? 0 : 0;
    const xattrs = node?.xattrs ?? [];
    inodes.push({
      entry: {
        ...common,
        rdev,
        size: type === SYMLINK ? target.length : size,
        target: latin1(target),
        xattrs: Object.fromEntries(xattrs.map(([key, value]) => [key, value.toHex()]).sort()),
        chunks: chunks.map((chunk) => `${chunk.blobIndex}:${chunk.chunkIndex}@${chunk.uncompressedOffset}`),
      },
      paths: [],
      subdirectories: 0,
    });
    const pairs = xattrs.map(([key, value]) => [encode(key), value] as const);
    return writer.addInode({ ...common, rdev, size, chunks, target, xattrs: pairs });
  };
  add(undefined);
  const directories = [{ row: 0, path: "" }];
  const files: number[] = [];
  const taken = new Set<string>();
  for (const node of nodes) {
    const directory = directories[node.directory % directories.length] ?? { row: 0, path: "" };
    const path = `${directory.path}/${latin1(node.name)}`;
    if (taken.has(path)) continue;
    taken.add(path);
    const linked = node.linkTo === undefined || files.length === 0 ? undefined : files[node.linkTo % files.length];
    const row = linked ?? add(node);
    writer.addEntry(directory.row, node.name, row);
    inodes[row]?.paths.push(path);
    if (linked !== undefined) continue;
    if (node.type === DIRECTORY) {
      directories.push({ row, path });
      (inodes[directory.row] as Inode).subdirectories++;
    } else {
      files.push(row);
    }
  }
  inodes[0]?.paths.push("/");
  const expected = inodes.flatMap(({ entry, paths, subdirectories }) =>
    paths.map((path) => ({
      ...entry,
      path,
      nlink: (entry.mode & 0o170000) === DIRECTORY ? 2 + subdirectories : paths.length,
      link: [...paths].sort(byPath)[0] as string,
    }))
  );
  return {
    bytes: writer.finish([treeBlob(0), treeBlob(1)]),
    expected: expected.sort((a, b) => byPath(a.path, b.path)),
  };
}

const byPath = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;

/** Lists what a reader returns for a bootstrap. Directory sizes are left out: 0. */
export function readTree(bootstrap: Bootstrap): PlainEntry[] {
  const first = new Map<number, string>();
  const entries = Array.from(walkTree(bootstrap), ({ path, ino, attr }) => {
    const type = attr.mode & 0o170000;
    const extents = type === REGULAR ? bootstrap.extents(ino, 0, attr.size) : [];
    return {
      ino,
      path: latin1(path),
      mode: attr.mode,
      nlink: attr.nlink,
      uid: attr.uid,
      gid: attr.gid,
      mtime: attr.mtime,
      mtimeNsec: attr.mtimeNsec,
      rdev: attr.rdev,
      size: type === DIRECTORY ? 0 : attr.size,
      target: type === SYMLINK ? latin1(bootstrap.readlink(ino)) : "",
      xattrs: Object.fromEntries([...bootstrap.xattrs(ino)].map(([key, value]) => [latin1(key), value.toHex()]).sort()),
      chunks: extents.map((extent) => `${extent.blobIndex}:${extent.chunkIndex}@${extent.chunkOffset}`),
    };
  });
  entries.sort((a, b) => byPath(a.path, b.path));
  return entries.map(({ ino, ...entry }) => {
    const link = first.get(ino) ?? entry.path;
    first.set(ino, link);
    return { ...entry, link };
  });
}
