/**
 * Inodes of RAFS v6, compact (32 bytes) and extended (64 bytes).
 *
 * {@link InodeCursor} is loaded with one inode at a time and allocates nothing. Callers must copy the fields that they
 * still need before calling anything that loads another inode.
 *
 * @module
 */
import { readU16, readU32 } from "../../base/bytes.ts";
import type { InodeAttr } from "../bootstrap.ts";
import { hex32, readSeconds, readU64, type Region, unreadable } from "../format/guard.ts";
import { isDevice, isKnownType, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { CHUNK_INDEX, COMPACT, DATA_LAYOUT, EXTENDED, INODE_SLOT, PATH_MAX, XATTR } from "./layout.ts";
import type { SuperBlock } from "./super_block.ts";

const WHAT = "RAFS v6 inode";

/** Cursor over inodes. All offsets are byte offsets in the image. */
export class InodeCursor {
  /** 0 if no inode is loaded. */
  nid = 0;
  /** Offset of the inode. */
  at = 0;
  extended = false;
  /** One of {@link DATA_LAYOUT}. */
  layout = 0;
  mode = 0;
  /** Bytes of content. */
  size = 0;
  /** First block of flat data, chunk format, or device number. */
  union = 0;
  xattrAt = 0;
  xattrSize = 0;

  constructor(private readonly view: DataView, private readonly sb: SuperBlock) {}

  /** Loads `nid`, unless it is loaded. Checks that the inode and everything that belongs to it is inside the image. */
  load(nid: number): void {
    if (nid === this.nid && nid !== 0) return;
    this.nid = 0;
    const { view, sb } = this;
    const at = sb.metaOffset + nid * INODE_SLOT;
    if (!Number.isSafeInteger(nid) || nid < 1 || at + COMPACT.SIZE > view.byteLength) {
      unreadable(WHAT, sb.metaOffset, `nid ${nid} is outside the image of ${view.byteLength} bytes`);
    }
    const format = readU16(view, at + COMPACT.format);
    const extended = (format & 1) === 1;
    const size = extended ? EXTENDED.SIZE : COMPACT.SIZE;
    const xattrCount = readU16(view, at + COMPACT.xattrCount);
    const xattrSize = xattrCount === 0 ? 0 : XATTR.HEADER_SIZE + XATTR.ENTRY_SIZE * (xattrCount - 1);
    if (at + size + xattrSize > view.byteLength) {
      unreadable(WHAT, at, `${size + xattrSize} bytes reach beyond the end of the image at ${view.byteLength}`);
    }
    this.at = at;
    this.extended = extended;
    this.layout = format >> 1;
    this.mode = readU16(view, at + COMPACT.mode);
    this.size = extended ? readU64(view, at + EXTENDED.size, WHAT) : readU32(view, at + COMPACT.size);
    this.union = readU32(view, at + (extended ? EXTENDED.union : COMPACT.union));
    this.xattrAt = at + size;
    this.xattrSize = xattrSize;
    this.#checkContent();
    this.nid = nid;
  }

  /** Like {@link load}, but fails if the inode is not a directory. */
  loadDirectory(nid: number): void {
    this.load(nid);
    if ((this.mode & S_IFMT) !== S_IFDIR) {
      unreadable(WHAT, this.at, `mode is 0${this.mode.toString(8)}, expected a directory`);
    }
  }

  /** Target of the loaded symbolic link. */
  linkTarget(bytes: Uint8Array): Uint8Array {
    if ((this.mode & S_IFMT) !== S_IFLNK) {
      unreadable("RAFS v6 symbolic link", this.at, `nid ${this.nid} is not a symbolic link`);
    }
    const target = new Uint8Array(this.size);
    for (let block = 0; block < this.blockCount; block++) {
      const at = this.blockAt(block);
      target.set(bytes.subarray(at, at + this.blockLength(block)), block * this.sb.blockSize);
    }
    if (target.includes(0)) unreadable("RAFS v6 symbolic link", this.at, "target contains NUL");
    return target;
  }

  /** Number of blocks of flat data. */
  get blockCount(): number {
    return Math.ceil(this.size / this.sb.blockSize);
  }

  /** Offset of block `index` of flat data. Its bytes lie inside the image. */
  blockAt(index: number): number {
    if (this.layout === DATA_LAYOUT.flatInline && index === this.blockCount - 1) return this.xattrAt + this.xattrSize;
    return (this.union + index) * this.sb.blockSize;
  }

  /** Bytes of block `index` of flat data. */
  blockLength(index: number): number {
    return Math.min(this.sb.blockSize, this.size - index * this.sb.blockSize);
  }

  /** Offset of the chunk indexes of a chunk-based file. */
  get chunksAt(): number {
    return Math.ceil((this.xattrAt + this.xattrSize - this.at) / CHUNK_INDEX.SIZE) * CHUNK_INDEX.SIZE + this.at;
  }

  /** Number of chunk indexes. RAFS uses the image's chunk size, regardless of the inode's chunk format. */
  get chunkCount(): number {
    return Math.ceil(this.size / this.sb.chunkSize);
  }

  /** Regions of the loaded inode and of its data in the image. */
  regions(): Region[] {
    const { at, layout, mode, xattrAt, xattrSize, size } = this;
    const name = `inode ${this.nid}`;
    const type = mode & S_IFMT;
    const head = xattrAt + xattrSize;
    if (type === S_IFREG) {
      const end = size === 0 ? head : this.chunksAt + this.chunkCount * CHUNK_INDEX.SIZE;
      return [{ name, at, size: end - at }];
    }
    if (type !== S_IFDIR && type !== S_IFLNK) return [{ name, at, size: head - at }];
    const last = this.blockCount - 1;
    const tail = layout === DATA_LAYOUT.flatInline && last >= 0 ? this.blockLength(last) : 0;
    return [
      { name, at, size: head + tail - at },
      { name: `data of ${name}`, at: this.union * this.sb.blockSize, size: size - tail },
    ];
  }

  /** Fills `out` from the loaded inode. */
  attr(out: InodeAttr): void {
    const { view, at } = this;
    out.ino = this.nid;
    out.mode = this.mode;
    out.size = this.size;
    out.rdev = isDevice(this.mode) ? this.union : 0;
    if (this.extended) {
      out.nlink = readU32(view, at + EXTENDED.nlink);
      out.uid = readU32(view, at + EXTENDED.uid);
      out.gid = readU32(view, at + EXTENDED.gid);
      out.mtime = readSeconds(view, at + EXTENDED.mtime);
      out.mtimeNsec = readU32(view, at + EXTENDED.mtimeNsec);
      if (out.mtimeNsec >= 1_000_000_000) unreadable(WHAT, at, `mtime has ${out.mtimeNsec} nanoseconds`);
    } else {
      out.nlink = readU16(view, at + COMPACT.nlink);
      out.uid = readU16(view, at + COMPACT.uid);
      out.gid = readU16(view, at + COMPACT.gid);
      out.mtime = 0;
      out.mtimeNsec = 0;
    }
  }

  #checkContent(): void {
    const { layout, mode, at, view } = this;
    if (!isKnownType(mode)) unreadable(WHAT, at, `mode is 0${mode.toString(8)}, not a file type`);
    const type = mode & S_IFMT;
    if (type === S_IFREG) {
      if (this.size === 0) return;
      if (layout !== DATA_LAYOUT.chunkBased) {
        unreadable(WHAT, at, `data layout of a file is ${layout}, expected chunks`);
      }
      const end = this.chunksAt + this.chunkCount * CHUNK_INDEX.SIZE;
      if (end > view.byteLength) {
        unreadable(WHAT, at, `${this.size} bytes of data need chunk indexes beyond the end of the image`);
      }
      return;
    }
    if (type !== S_IFDIR && type !== S_IFLNK) return;
    if (layout !== DATA_LAYOUT.flatPlain && layout !== DATA_LAYOUT.flatInline) {
      unreadable(WHAT, at, `format ${hex32(layout * 2)} does not fit mode 0${mode.toString(8)}`);
    }
    if (type === S_IFLNK && (this.size === 0 || this.size > PATH_MAX)) {
      unreadable(WHAT, at, `symbolic link has ${this.size} bytes, expected 1 to ${PATH_MAX}`);
    }
    const last = this.blockCount - 1;
    const inline = layout === DATA_LAYOUT.flatInline;
    const outside = last >= 0 &&
      (this.blockAt(last) + this.blockLength(last) > view.byteLength ||
        (inline && last > 0 && this.blockAt(last - 1) + this.sb.blockSize > view.byteLength));
    if (outside) unreadable(WHAT, at, `${this.size} bytes of data reach beyond the end of the image`);
  }
}
