/**
 * The inodes of a layer until its bootstrap is written, in columns of about 50 bytes per inode.
 *
 * @module
 */
import { S } from "../../../../ffi/sys_stat.ts";
import { ACL_ACCESS, aclOfMode } from "../../../archive/posix_acl.ts";
import { type ByteString, equalBytes, fromByteString, toByteString } from "../../../base/bytes.ts";
import { GrowingColumn } from "../../../rafs/memory/growing.ts";
import type { ChunkLocation, InodeSpec } from "../../../rafs/v6/writer.ts";

/** An inode whose chunks are given by their places. */
export type PlacedInode = Omit<InodeSpec, "chunks" | "nlink">;

/** Consecutive places of a file's chunks, as numbered by {@link BlobChunks}. */
export interface PlaceRange {
  readonly first: number;
  readonly count: number;
}

type Xattrs = NonNullable<InodeSpec["xattrs"]>;

const NO_XATTRS: Xattrs = [];

const ACL_NAME = fromByteString(ACL_ACCESS);

/** Compact table of inodes, numbered in order of addition. */
export class InodeTable {
  readonly #mode = GrowingColumn.u32();
  readonly #uid = GrowingColumn.u32();
  readonly #gid = GrowingColumn.u32();
  readonly #rdev = GrowingColumn.u32();
  readonly #mtime = GrowingColumn.doubles();
  /** Times that are not exact in {@link #mtime}. */
  readonly #farTimes = new Map<number, bigint>();
  readonly #mtimeNsec = GrowingColumn.u32();
  readonly #size = GrowingColumn.doubles();
  readonly #firstPlace = GrowingColumn.u32();
  readonly #placeCount = GrowingColumn.u32();
  readonly #targets = new Map<number, ByteString>();
  readonly #xattrs = new Map<number, Xattrs>();

  /** Number of inodes. */
  get count(): number {
    return this.#mode.length;
  }

  /** Adds an inode and returns its number. */
  push(inode: PlacedInode, { first, count }: PlaceRange): number {
    const { target, xattrs = [] } = inode;
    if (target !== undefined) this.#targets.set(this.count, toByteString(target));
    if (xattrs.length > 0) this.#xattrs.set(this.count, xattrs);
    this.#uid.push(inode.uid);
    this.#gid.push(inode.gid);
    this.#rdev.push(inode.rdev ?? 0);
    if (typeof inode.mtime === "bigint") this.#farTimes.set(this.count, inode.mtime);
    this.#mtime.push(Number(inode.mtime));
    this.#mtimeNsec.push(inode.mtimeNsec);
    this.#size.push(inode.size ?? 0);
    this.#firstPlace.push(first);
    this.#placeCount.push(count);
    return this.#mode.push(inode.mode);
  }

  /** Changes the attributes of an inode to those of `other`, whose extended attributes are added. */
  describe(inode: number, other: PlacedInode): void {
    const mode = this.#mode.at(inode);
    if ((mode & S.IFMT) !== S.IFLNK) this.#mode.set(inode, (mode & S.IFMT) | (other.mode & ~S.IFMT));
    this.#uid.set(inode, other.uid);
    this.#gid.set(inode, other.gid);
    this.#farTimes.delete(inode);
    if (typeof other.mtime === "bigint") this.#farTimes.set(inode, other.mtime);
    this.#mtime.set(inode, Number(other.mtime));
    this.#mtimeNsec.set(inode, other.mtimeNsec);
    if (other.xattrs === undefined || other.xattrs.length === 0) return;
    const xattrs = new Map((this.#xattrs.get(inode) ?? []).map(([name, value]) => [toByteString(name), value]));
    for (const [name, value] of other.xattrs) xattrs.set(toByteString(name), value);
    this.#xattrs.set(inode, [...xattrs].map(([name, value]) => [fromByteString(name), value]));
  }

  /** Forgets all inodes. */
  clear(): void {
    for (const column of [this.#mode, this.#uid, this.#gid, this.#rdev, this.#mtimeNsec]) column.clear();
    for (const column of [this.#mtime, this.#size, this.#firstPlace, this.#placeCount]) column.clear();
    this.#farTimes.clear();
    this.#targets.clear();
    this.#xattrs.clear();
  }

  /** Target of a symbolic link, undefined for anything else. */
  targetOf(inode: number): ByteString | undefined {
    return this.#targets.get(inode);
  }

  /** The inode as it is written to the bootstrap. */
  specOf(inode: number, placeOf: (place: number) => ChunkLocation): InodeSpec {
    const target = this.#targets.get(inode);
    const first = this.#firstPlace.at(inode), end = first + this.#placeCount.at(inode);
    const chunks: ChunkLocation[] = [];
    for (let place = first; place < end; place++) chunks.push(placeOf(place));
    return {
      mode: this.#mode.at(inode),
      uid: this.#uid.at(inode),
      gid: this.#gid.at(inode),
      mtime: this.#farTimes.get(inode) ?? this.#mtime.at(inode),
      mtimeNsec: this.#mtimeNsec.at(inode),
      rdev: this.#rdev.at(inode),
      size: this.#size.at(inode),
      chunks,
      xattrs: this.#xattrsOf(inode),
      ...(target === undefined ? {} : { target: fromByteString(target) }),
    };
  }

  #xattrsOf(inode: number): Xattrs {
    const xattrs = this.#xattrs.get(inode);
    if (xattrs === undefined) return NO_XATTRS;
    const mode = this.#mode.at(inode);
    return xattrs.map(([name, value]) => [name, isAcl(name) ? aclOfMode(value, mode) : value]);
  }
}

function isAcl(name: Uint8Array): boolean {
  return equalBytes(name, ACL_NAME);
}
