/**
 * Tree under construction by a bootstrap writer: inodes and names in columns, about 130 bytes per entry.
 *
 * Inode 0 is the root directory. A directory is added before the directories below it and gets exactly one name, which
 * guarantees a tree. Every other inode gets one or more names (hard links).
 *
 * @module
 */
import { readU16, readU32, writeU16, writeU32 } from "../../base/bytes.ts";
import { hasSlashOrNul, isDots, OWN_NAME, PARENT_NAME } from "../../base/path_bytes.ts";
import { isSeconds, type Seconds } from "../../base/seconds.ts";
import { RafsError } from "../bootstrap.ts";
import { GrowingBytes } from "../memory/growing.ts";
import { compareRanges } from "../format/guard.ts";
import { isKnownType, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { BLOCK, CHUNK_INDEX, NAME_MAX, PATH_MAX } from "./layout.ts";
import { EntryRows, InodeRows } from "./tree_rows.ts";
import { encodeXattrs } from "./xattr_writer.ts";

/** Location of a file's chunk. */
export interface ChunkLocation {
  /** Index of the blob in the list passed to {@link BootstrapWriter.finish}. */
  readonly blobIndex: number;
  /** Index of the chunk in its blob. */
  readonly chunkIndex: number;
  /** Offset in the blob's address space, a multiple of 4096. */
  readonly uncompressedOffset: number;
}

/** A mutable {@link ChunkLocation}. */
export type MovablePlace = { -readonly [K in keyof ChunkLocation]: ChunkLocation[K] };

/** Replaces a provisional place by the final one, for callers that know places only when all chunks are added. */
export type MoveChunk = (place: MovablePlace) => void;

/** An inode to add. */
export interface InodeSpec {
  /** Full st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Since 1970; negative before. */
  readonly mtime: Seconds;
  readonly mtimeNsec: number;
  /** dev_t of a device in the encoding of the kernel's new_encode_dev. */
  readonly rdev?: number;
  /** Link count to write; derived from the inode's names by default. */
  readonly nlink?: number;
  /** Bytes of a regular file. */
  readonly size?: number;
  /** Chunks of a regular file: `size` divided by the chunk size, rounded up. */
  readonly chunks?: readonly ChunkLocation[];
  /** Target of a symbolic link. */
  readonly target?: Uint8Array | undefined;
  /** Extended attributes by full name. */
  readonly xattrs?: readonly (readonly [name: Uint8Array, value: Uint8Array])[] | undefined;
}

/** Block number that the kernel treats as a hole. */
const NO_BLOCK = 0xffff_ffff;
/** Parent of a directory that has no name yet. */
const NO_INODE = 0xffff_ffff;
const NO_CHUNKS: readonly ChunkLocation[] = [];
const NO_XATTRS: NonNullable<InodeSpec["xattrs"]> = [];
const NO_TARGET = new Uint8Array(0);

/** Fails because the format cannot represent something. */
export function unwritable(what: string, state: string): never {
  throw new RafsError(`Cannot write RAFS v6 ${what}: ${state}`, "unsupported");
}

/** Inodes and names in columns. Rows are numbered in the order of addition. */
export class TreeTable {
  readonly inodes = new InodeRows();
  /** Xattr areas and contents of inodes. */
  readonly bytes = new GrowingBytes();
  readonly entries = new EntryRows();
  readonly names = new GrowingBytes();

  #hasXattrs = false;

  constructor(private readonly chunkSize: number) {}

  get inodeCount(): number {
    return this.inodes.length;
  }

  modeOf(inode: number): number {
    return this.inodes.mode[inode] as number;
  }

  isDirectory(inode: number): boolean {
    return (this.modeOf(inode) & S_IFMT) === S_IFDIR;
  }

  /** Whether any inode has extended attributes. */
  get hasXattrs(): boolean {
    return this.#hasXattrs;
  }

  /** Makes room for this many inodes, with a name each, which saves time and memory. More can be added. */
  reserve(inodes: number): void {
    if (inodes > this.inodes.length) this.inodes.reserve(inodes);
    // every directory has two more names
    if (inodes > this.entries.length) this.entries.reserve(inodes + (inodes >> 2));
  }

  /** Adds an inode and returns its row. */
  addInode(spec: InodeSpec): number {
    const { mode, target, chunks = NO_CHUNKS } = spec;
    const type = mode & S_IFMT;
    const size = type === S_IFREG ? spec.size ?? 0 : type === S_IFLNK ? target?.length ?? 0 : 0;
    if (mode > 0xffff || !isKnownType(mode)) unwritable("inode", `mode is 0${mode.toString(8)}`);
    if (this.inodeCount === 0 && type !== S_IFDIR) {
      unwritable("root inode", `mode is 0${mode.toString(8)}, expected a directory`);
    }
    if (!Number.isSafeInteger(size) || size < 0) unwritable("inode", `size is ${size}`);
    if (type === S_IFLNK && (size === 0 || size > PATH_MAX)) unwritable("symbolic link", `target has ${size} bytes`);
    if (!isSeconds(spec.mtime)) unwritable("inode", `mtime is ${spec.mtime}`);
    if (!(spec.mtimeNsec >= 0 && spec.mtimeNsec < 1_000_000_000)) {
      unwritable("inode", `nanoseconds are ${spec.mtimeNsec}`);
    }
    if (chunks.length !== (type === S_IFREG ? Math.ceil(size / this.chunkSize) : 0)) {
      unwritable("inode", `${chunks.length} chunks for ${size} bytes, chunk size is ${this.chunkSize}`);
    }
    const xattrs = encodeXattrs(spec.xattrs ?? NO_XATTRS);
    const { inodes, bytes } = this;
    const inode = inodes.add();
    inodes.mode[inode] = mode;
    inodes.uid[inode] = spec.uid;
    inodes.gid[inode] = spec.gid;
    inodes.rdev[inode] = spec.rdev ?? 0;
    inodes.mtime[inode] = BigInt(spec.mtime);
    inodes.mtimeNsec[inode] = spec.mtimeNsec;
    inodes.size[inode] = size;
    inodes.nlink[inode] = type === S_IFDIR ? 2 : 0;
    inodes.shownNlink[inode] = spec.nlink ?? -1;
    inodes.xattrAt[inode] = this.appendXattrs(xattrs);
    inodes.xattrSize[inode] = xattrs.length;
    const contentAt = inodes.contentAt[inode] = bytes.length;
    if (type === S_IFLNK && target !== undefined) bytes.append(target);
    for (let k = 0; k < chunks.length; k++) {
      const { blobIndex, chunkIndex, uncompressedOffset } = chunks[k] as ChunkLocation;
      this.appendChunk(blobIndex, chunkIndex, uncompressedOffset);
    }
    inodes.contentSize[inode] = bytes.length - contentAt;
    if (type === S_IFDIR) this.addDots(inode, inode === 0 ? 0 : NO_INODE);
    return inode;
  }

  /** Gives an inode a name in a directory. */
  addEntry(directory: number, name: Uint8Array, inode: number): void {
    if (!isFileName(name)) {
      unwritable("name", `${JSON.stringify(new TextDecoder().decode(name))} is not a file name`);
    }
    this.addReadEntry(directory, name, inode, 0, name.length);
  }

  /**
   * Like {@link addEntry}, for the name `[start, end)` of a bootstrap: its readers have refused what is not a file name.
   */
  addReadEntry(directory: number, name: Uint8Array, inode: number, start: number, end: number): void {
    if (!(directory < this.inodeCount && this.isDirectory(directory))) {
      unwritable("name", `inode ${directory} is not a directory`);
    }
    if (!(inode > 0 && inode < this.inodeCount)) unwritable("name", `there is no inode ${inode}`);
    const { nlink, dotDot } = this.inodes;
    if (this.isDirectory(inode)) {
      if (inode < directory) unwritable("name", `directory ${inode} was added before its parent ${directory}`);
      const up = dotDot[inode] as number;
      if (this.entries.inode[up] !== NO_INODE) unwritable("name", `directory ${inode} has a name already`);
      this.entries.inode[up] = directory;
      nlink[directory] = (nlink[directory] as number) + 1;
    } else {
      nlink[inode] = (nlink[inode] as number) + 1;
    }
    this.#pushEntry(directory, inode, name, start, end);
  }

  /** Target of a symbolic link, empty for other types. A view, valid until more is added. */
  targetOf(inode: number): Uint8Array {
    if ((this.modeOf(inode) & S_IFMT) !== S_IFLNK) return NO_TARGET;
    const at = this.inodes.contentAt[inode] as number;
    return this.bytes.bytes.subarray(at, at + (this.inodes.contentSize[inode] as number));
  }

  /** Number of chunks of a file, 0 for other types. */
  chunkCountOf(inode: number): number {
    if ((this.modeOf(inode) & S_IFMT) !== S_IFREG) return 0;
    return (this.inodes.contentSize[inode] as number) / CHUNK_INDEX.SIZE;
  }

  /** Fills `place` with an existing chunk of a file. */
  chunkOf(inode: number, position: number, place: MovablePlace): void {
    readChunkIndex(this.bytes.view, (this.inodes.contentAt[inode] as number) + position * CHUNK_INDEX.SIZE, place);
  }

  /** Sorts the names. The table must not change afterwards. */
  sort(): SortedEntries {
    const { nlink, dotDot } = this.inodes;
    for (let inode = 1; inode < this.inodeCount; inode++) {
      const nameless = this.isDirectory(inode)
        ? this.entries.inode[dotDot[inode] as number] === NO_INODE
        : nlink[inode] === 0;
      if (nameless) unwritable("inode", `inode ${inode} has no name`);
    }
    return new SortedEntries(this);
  }

  #pushEntry(directory: number, inode: number, name: Uint8Array, start = 0, end = name.length): void {
    const { entries } = this;
    const row = entries.add();
    entries.directory[row] = directory;
    entries.inode[row] = inode;
    entries.nameAt[row] = this.names.appendRange(name, start, end);
    entries.nameSize[row] = end - start;
  }

  /** Adds "." and ".." to a directory. Call before adding any other name to it. */
  addDots(directory: number, parent: number): void {
    this.inodes.dotDot[directory] = this.entries.length + 1;
    this.#pushEntry(directory, directory, OWN_NAME);
    this.#pushEntry(directory, parent, PARENT_NAME);
  }

  /** Appends a {@link ChunkLocation} to the content of the inode that is being added. */
  appendChunk(blobIndex: number, chunkIndex: number, uncompressedOffset: number): void {
    const at = this.bytes.reserve(CHUNK_INDEX.SIZE);
    writeChunkIndex(this.bytes.view, at, blobIndex, chunkIndex, uncompressedOffset);
  }

  /** Appends the xattr area of the inode that is being added and returns its offset. */
  appendXattrs(area: Uint8Array): number {
    if (area.length === 0) return this.bytes.length;
    this.#hasXattrs = true;
    return this.bytes.append(area);
  }
}

/** Whether a directory can hold the name. */
function isFileName(name: Uint8Array): boolean {
  return name.length > 0 && name.length <= NAME_MAX && !isDots(name) && !hasSlashOrNul(name, 0, name.length);
}

/** Writes a {@link ChunkLocation}. @throws {RafsError} "unsupported" for one that the format cannot represent */
export function writeChunkIndex(
  view: DataView,
  at: number,
  blobIndex: number,
  chunkIndex: number,
  uncompressedOffset: number,
): void {
  const block = uncompressedOffset / BLOCK;
  if (!Number.isInteger(block) || block >= NO_BLOCK || !(blobIndex >= 0 && blobIndex < 254) || chunkIndex >= 1 << 24) {
    unwritable("chunk index", `chunk ${chunkIndex} of blob ${blobIndex} at ${uncompressedOffset}`);
  }
  writeU16(view, at + CHUNK_INDEX.ciLow, chunkIndex & 0xffff);
  writeU16(view, at + CHUNK_INDEX.device, ((chunkIndex >> 16) << 8) | (blobIndex + 1));
  writeU32(view, at + CHUNK_INDEX.block, block);
}

/** Fills `into` from what {@link writeChunkIndex} wrote. */
export function readChunkIndex(view: DataView, at: number, into: MovablePlace): void {
  const device = readU16(view, at + CHUNK_INDEX.device);
  into.blobIndex = (device & 0xff) - 1;
  into.chunkIndex = (device >> 8) * 0x1_0000 + readU16(view, at + CHUNK_INDEX.ciLow);
  into.uncompressedOffset = readU32(view, at + CHUNK_INDEX.block) * BLOCK;
}

/** Entries of each directory in name order, including "." and "..". */
export class SortedEntries {
  /** Entry rows, grouped by directory. */
  readonly #rows: Uint32Array<ArrayBuffer>;
  /** Start of each inode's entries in {@link #rows}, followed by the end of the last. */
  readonly #first: Uint32Array<ArrayBuffer>;

  constructor(table: TreeTable) {
    const { directory, nameAt, nameSize, length: count } = table.entries;
    const first = new Uint32Array(table.inodeCount + 1);
    for (let row = 0; row < count; row++) {
      const next = (directory[row] as number) + 1;
      first[next] = (first[next] as number) + 1;
    }
    for (let inode = 0; inode < table.inodeCount; inode++) {
      first[inode + 1] = (first[inode + 1] as number) + (first[inode] as number);
    }
    const next = first.slice();
    const rows = new Uint32Array(count);
    for (let row = 0; row < count; row++) {
      const inode = directory[row] as number;
      const at = next[inode] as number;
      rows[at] = row;
      next[inode] = at + 1;
    }
    const names = table.names.bytes;
    const compare = (a: number, b: number) => {
      const start = nameAt[a] as number, other = nameAt[b] as number;
      return compareRanges(names, start, start + (nameSize[a] as number), other, other + (nameSize[b] as number));
    };
    for (let inode = 0; inode < table.inodeCount; inode++) {
      if (first[inode] === first[inode + 1]) continue;
      const own = rows.subarray(first[inode], first[inode + 1]);
      if (isAscending(own, compare)) continue; // true for names from a bootstrap
      own.sort(compare);
      if (isAscending(own, compare)) continue;
      const twice = own.find((row, k) => k > 0 && compare(own[k - 1] as number, row) === 0) as number;
      const start = nameAt[twice] as number;
      const name = names.subarray(start, start + (nameSize[twice] as number));
      unwritable("directory", `${JSON.stringify(new TextDecoder().decode(name))} occurs twice`);
    }
    this.#rows = rows;
    this.#first = first;
  }

  /** Entry rows of a directory in name order; empty for other inodes. */
  of(inode: number): Uint32Array<ArrayBuffer> {
    return this.#rows.subarray(this.#first[inode], this.#first[inode + 1]);
  }
}

function isAscending(rows: Uint32Array, compare: (a: number, b: number) => number): boolean {
  for (let k = 1; k < rows.length; k++) if (compare(rows[k - 1] as number, rows[k] as number) >= 0) return false;
  return true;
}
