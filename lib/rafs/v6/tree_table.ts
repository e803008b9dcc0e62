/**
 * The tree that a bootstrap writer is fed: inodes and names in columns, about 130 bytes an entry.
 *
 * Inode 0 is the root directory. A directory is added before the directories below it and gets exactly one name, so
 * that what was added is a tree; every other inode gets one name or more (hard links).
 *
 * @module
 */
import { RafsError } from "../bootstrap.ts";
import { GrowingBytes, GrowingColumn } from "../growing.ts";
import { compareRanges, isDots } from "../guard.ts";
import { isKnownType, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../inode_mode.ts";
import { CHUNK_INDEX, NAME_MAX, PATH_MAX } from "./layout.ts";
import { encodeXattrs } from "./xattr_writer.ts";

/** Where a chunk of a file is. */
export interface ChunkPlace {
  /** Position of the blob in the list given to {@link BootstrapWriter.finish}. */
  readonly blobIndex: number;
  /** Position of the chunk in its blob. */
  readonly chunkIndex: number;
  /** Offset in the blob's address space, a multiple of 4096. */
  readonly uncompressedOffset: number;
}

/** An inode to be written. */
export interface InodeSpec {
  /** Full st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970, negative before. */
  readonly mtime: number;
  readonly mtimeNsec: number;
  /** dev_t of a device as the kernel's new_encode_dev has it. */
  readonly rdev?: number;
  /** Links that are shown; follows from the names that the inode gets unless it is given. */
  readonly nlink?: number;
  /** Bytes of a regular file. */
  readonly size?: number;
  /** Chunks of a regular file, one for each chunk size begun. */
  readonly chunks?: readonly ChunkPlace[];
  /** Target of a symbolic link. */
  readonly target?: Uint8Array;
  /** Extended attributes by full name. */
  readonly xattrs?: readonly (readonly [name: Uint8Array, value: Uint8Array])[];
}

/** Bytes that offsets of chunks are multiples of. */
const BLOCK = 4096;
/** To the kernel, a chunk that is a hole. */
const NO_BLOCK = 0xffff_ffff;
/** ".." of a directory that has no name yet. */
const NOBODY = 0xffff_ffff;

/** What the format cannot hold. */
export function unwritable(what: string, state: string): never {
  throw new RafsError(`Cannot write RAFS v6 ${what}: ${state}`, "unsupported");
}

/** Inodes and names, in columns. Rows are numbered in the order of addition. */
export class TreeTable {
  readonly mode = GrowingColumn.u32();
  readonly uid = GrowingColumn.u32();
  readonly gid = GrowingColumn.u32();
  readonly rdev = GrowingColumn.u32();
  readonly mtime = GrowingColumn.doubles();
  readonly mtimeNsec = GrowingColumn.u32();
  readonly size = GrowingColumn.doubles();
  readonly nlink = GrowingColumn.u32();
  /** What is written in its place, by inode. */
  readonly shownNlink = new Map<number, number>();
  /** Row of the entry ".." of a directory. */
  readonly dotDot = GrowingColumn.u32();
  /** Xattr area and content (link target, chunk indexes) in {@link bytes}. */
  readonly xattrAt = GrowingColumn.u32();
  readonly xattrSize = GrowingColumn.u32();
  readonly contentAt = GrowingColumn.u32();
  readonly contentSize = GrowingColumn.u32();
  readonly bytes = new GrowingBytes();

  readonly entryDirectory = GrowingColumn.u32();
  readonly entryInode = GrowingColumn.u32();
  readonly nameAt = GrowingColumn.u32();
  readonly nameSize = GrowingColumn.u32();
  readonly names = new GrowingBytes();

  #hasXattrs = false;

  constructor(private readonly chunkSize: number) {}

  get inodeCount(): number {
    return this.mode.length;
  }

  isDirectory(inode: number): boolean {
    return (this.mode.at(inode) & S_IFMT) === S_IFDIR;
  }

  /** Whether any inode has extended attributes. */
  get hasXattrs(): boolean {
    return this.#hasXattrs;
  }

  /** Adds an inode and returns its row. */
  addInode(spec: InodeSpec): number {
    const inode = this.inodeCount;
    const { mode, target, chunks = [] } = spec;
    const type = mode & S_IFMT;
    const size = type === S_IFREG ? spec.size ?? 0 : type === S_IFLNK ? target?.length ?? 0 : 0;
    if (mode > 0xffff || !isKnownType(mode)) unwritable("inode", `mode is 0${mode.toString(8)}`);
    if (inode === 0 && type !== S_IFDIR) unwritable("root inode", `mode is 0${mode.toString(8)}, expected a directory`);
    if (!Number.isSafeInteger(size) || size < 0) unwritable("inode", `size is ${size}`);
    if (type === S_IFLNK && (size === 0 || size > PATH_MAX)) unwritable("symbolic link", `target has ${size} bytes`);
    if (!Number.isSafeInteger(spec.mtime)) unwritable("inode", `mtime is ${spec.mtime}`);
    if (!(spec.mtimeNsec >= 0 && spec.mtimeNsec < 1_000_000_000)) {
      unwritable("inode", `nanoseconds are ${spec.mtimeNsec}`);
    }
    if (chunks.length !== (type === S_IFREG ? Math.ceil(size / this.chunkSize) : 0)) {
      unwritable("inode", `${chunks.length} chunks for ${size} bytes, chunk size is ${this.chunkSize}`);
    }
    const xattrs = encodeXattrs(spec.xattrs ?? []);
    this.mode.push(mode);
    this.uid.push(spec.uid);
    this.gid.push(spec.gid);
    this.rdev.push(spec.rdev ?? 0);
    this.mtime.push(spec.mtime);
    this.mtimeNsec.push(spec.mtimeNsec);
    this.size.push(size);
    this.nlink.push(type === S_IFDIR ? 2 : 0);
    if (spec.nlink !== undefined) this.shownNlink.set(inode, spec.nlink);
    this.dotDot.push(this.entryInode.length + 1);
    this.#hasXattrs ||= xattrs.length > 0;
    this.xattrAt.push(this.bytes.append(xattrs));
    this.xattrSize.push(xattrs.length);
    this.contentAt.push(this.bytes.length);
    if (type === S_IFLNK && target !== undefined) this.bytes.append(target);
    for (const chunk of chunks) this.#appendChunk(chunk);
    this.contentSize.push(this.bytes.length - this.contentAt.at(inode));
    if (type === S_IFDIR) {
      this.#pushEntry(inode, inode, Uint8Array.of(0x2e));
      this.#pushEntry(inode, inode === 0 ? 0 : NOBODY, Uint8Array.of(0x2e, 0x2e));
    }
    return inode;
  }

  /** Gives an inode a name in a directory. */
  addEntry(directory: number, name: Uint8Array, inode: number): void {
    if (!(directory < this.inodeCount && this.isDirectory(directory))) {
      unwritable("name", `${directory} is no directory`);
    }
    if (!(inode > 0 && inode < this.inodeCount)) unwritable("name", `there is no inode ${inode} to be named`);
    if (name.length === 0 || name.length > NAME_MAX || isDots(name) || name.includes(0x2f) || name.includes(0)) {
      unwritable("name", `${JSON.stringify(new TextDecoder().decode(name))} is no file name`);
    }
    if (this.isDirectory(inode)) {
      if (inode < directory) unwritable("name", `directory ${inode} was added before ${directory}, which holds it`);
      const dotDot = this.dotDot.at(inode);
      if (this.entryInode.at(dotDot) !== NOBODY) unwritable("name", `directory ${inode} has a name already`);
      this.entryInode.set(dotDot, directory);
      this.nlink.set(directory, this.nlink.at(directory) + 1);
    } else {
      this.nlink.set(inode, this.nlink.at(inode) + 1);
    }
    this.#pushEntry(directory, inode, name);
  }

  /** Puts every chunk that files were added with to another place. */
  moveChunks(moved: (place: ChunkPlace) => ChunkPlace): void {
    const { view } = this.bytes;
    for (let inode = 0; inode < this.inodeCount; inode++) {
      if ((this.mode.at(inode) & S_IFMT) !== S_IFREG) continue;
      const from = this.contentAt.at(inode), end = from + this.contentSize.at(inode);
      for (let at = from; at < end; at += CHUNK_INDEX.SIZE) writeChunkIndex(view, at, moved(readChunkIndex(view, at)));
    }
  }

  /** Sorts the names. The table must not change afterwards. */
  sort(): SortedEntries {
    for (let inode = 1; inode < this.inodeCount; inode++) {
      const nameless = this.isDirectory(inode)
        ? this.entryInode.at(this.dotDot.at(inode)) === NOBODY
        : this.nlink.at(inode) === 0;
      if (nameless) unwritable("inode", `inode ${inode} has no name`);
    }
    return new SortedEntries(this);
  }

  #pushEntry(directory: number, inode: number, name: Uint8Array): void {
    this.entryDirectory.push(directory);
    this.entryInode.push(inode);
    this.nameAt.push(this.names.append(name));
    this.nameSize.push(name.length);
  }

  #appendChunk(chunk: ChunkPlace): void {
    const at = this.bytes.reserve(CHUNK_INDEX.SIZE);
    writeChunkIndex(this.bytes.view, at, chunk);
  }
}

function writeChunkIndex(view: DataView, at: number, { blobIndex, chunkIndex, uncompressedOffset }: ChunkPlace): void {
  const block = uncompressedOffset / BLOCK;
  if (!Number.isInteger(block) || block >= NO_BLOCK || !(blobIndex >= 0 && blobIndex < 254) || chunkIndex >= 1 << 24) {
    unwritable("chunk index", `chunk ${chunkIndex} of blob ${blobIndex} at ${uncompressedOffset}`);
  }
  view.setUint16(at + CHUNK_INDEX.ciLow, chunkIndex & 0xffff, true);
  view.setUint16(at + CHUNK_INDEX.device, ((chunkIndex >> 16) << 8) | (blobIndex + 1), true);
  view.setUint32(at + CHUNK_INDEX.block, block, true);
}

function readChunkIndex(view: DataView, at: number): ChunkPlace {
  const device = view.getUint16(at + CHUNK_INDEX.device, true);
  return {
    blobIndex: (device & 0xff) - 1,
    chunkIndex: (device >> 8) * 0x1_0000 + view.getUint16(at + CHUNK_INDEX.ciLow, true),
    uncompressedOffset: view.getUint32(at + CHUNK_INDEX.block, true) * BLOCK,
  };
}

/** Entries of each directory in the order of their names, "." and ".." among them. */
export class SortedEntries {
  /** Entry rows, directory after directory. */
  readonly #rows: Uint32Array<ArrayBuffer>;
  /** First position of each inode's entries in {@link #rows}, and the end of the last. */
  readonly #first: Uint32Array<ArrayBuffer>;

  constructor(table: TreeTable) {
    const { entryDirectory, nameAt, nameSize } = table;
    const count = entryDirectory.length;
    const first = new Uint32Array(table.inodeCount + 1);
    for (let row = 0; row < count; row++) {
      first[entryDirectory.at(row) + 1] = (first[entryDirectory.at(row) + 1] ?? 0) + 1;
    }
    for (let inode = 0; inode < table.inodeCount; inode++) {
      first[inode + 1] = (first[inode + 1] as number) + (first[inode] as number);
    }
    const next = first.slice();
    const rows = new Uint32Array(count);
    for (let row = 0; row < count; row++) {
      const directory = entryDirectory.at(row);
      rows[next[directory] as number] = row;
      next[directory] = (next[directory] as number) + 1;
    }
    const names = table.names.bytes;
    const compare = (a: number, b: number) =>
      compareRanges(names, nameAt.at(a), nameAt.at(a) + nameSize.at(a), nameAt.at(b), nameAt.at(b) + nameSize.at(b));
    for (let inode = 0; inode < table.inodeCount; inode++) {
      const own = rows.subarray(first[inode], first[inode + 1]);
      if (own.length === 0) continue;
      if (isAscending(own, compare)) continue; // as names are that come from a bootstrap
      own.sort(compare);
      if (isAscending(own, compare)) continue;
      const twice = own.find((row, k) => k > 0 && compare(own[k - 1] as number, row) === 0) as number;
      const name = names.subarray(nameAt.at(twice), nameAt.at(twice) + nameSize.at(twice));
      unwritable("directory", `${JSON.stringify(new TextDecoder().decode(name))} occurs twice`);
    }
    this.#rows = rows;
    this.#first = first;
  }

  /** Entry rows of a directory in order; empty for any other inode. */
  of(inode: number): Uint32Array<ArrayBuffer> {
    return this.#rows.subarray(this.#first[inode], this.#first[inode + 1]);
  }
}

function isAscending(rows: Uint32Array, compare: (a: number, b: number) => number): boolean {
  for (let k = 1; k < rows.length; k++) if (compare(rows[k - 1] as number, rows[k] as number) >= 0) return false;
  return true;
}
