/**
 * Offsets of the structures in a RAFS v6 bootstrap, and tables of kinds of damage.
 *
 * @module
 */
import { CHUNK_INFO } from "../../../lib/rafs/format/chunk_info.ts";
import { BLOB, CHUNK_INDEX, DIRENT, EXT_SUPER, EXTENDED, SUPER } from "../../../lib/rafs/v6/layout.ts";
import type { Damage, Fallout, FixtureCopy, Patch } from "./damage.ts";

export const BLOCK = 4096;
const EROFS_SUPER = 1024;

/** Offsets of the structures of a v6 bootstrap, in bytes from its start. */
export class V6Places {
  readonly #patch: Patch;

  constructor(private readonly copy: FixtureCopy) {
    this.#patch = copy.bootstrap;
  }

  /** Entry of the blob table. */
  blob(index: number): number {
    return this.#patch.getU64(EXT_SUPER.AT + EXT_SUPER.blobTableOffset) + index * BLOB.SIZE;
  }

  /** Entry of the chunk table. */
  chunk(index: number): number {
    return this.#patch.getU64(EXT_SUPER.AT + EXT_SUPER.chunkTableOffset) + index * CHUNK_INFO.SIZE;
  }

  get chunkCount(): number {
    return this.#patch.getU64(EXT_SUPER.AT + EXT_SUPER.chunkTableSize) / CHUNK_INFO.SIZE;
  }

  /** Offset of an inode; those of the fixtures are all extended. */
  inode(path: string): number {
    return this.#patch.getU32(EROFS_SUPER + SUPER.metaBlock) * BLOCK + this.copy.ino(path) * 32;
  }

  /** Offset of what follows an inode: xattrs, then inline data or chunk indexes. */
  tail(path: string): number {
    const at = this.inode(path);
    const count = this.#patch.getU16(at + EXTENDED.xattrCount);
    return at + EXTENDED.SIZE + (count === 0 ? 0 : 12 + 4 * (count - 1));
  }

  chunkIndex(path: string, k: number): number {
    return Math.ceil(this.tail(path) / 8) * 8 + k * CHUNK_INDEX.SIZE;
  }

  /** Offset of the only block of a directory. */
  block(path: string): number {
    const at = this.inode(path);
    const inline = (this.#patch.getU16(at) >> 1) === 2;
    return inline ? this.tail(path) : this.#patch.getU32(at + EXTENDED.union) * BLOCK;
  }

  /** Offset of entry `k` of a directory, counting "." and "..". */
  dirent(path: string, k: number): number {
    return this.block(path) + k * DIRENT.SIZE;
  }

  /** Offset of the name of entry `k`. */
  nameOf(path: string, k: number): number {
    return this.block(path) + this.#patch.getU16(this.dirent(path, k) + DIRENT.nameOffset);
  }
}

/** A kind of damage; `fallout` defaults to "any". */
export type DamageRow = readonly [
  name: string,
  damage: (p: Patch, at: V6Places, copy: FixtureCopy) => void,
  fallout?: Fallout,
];

/** Offset of a field of the EROFS super block. */
export const sb = (field: number): number => EROFS_SUPER + field;
/** Offset of a field of the extended super block. */
export const ext = (field: number): number => EXT_SUPER.AT + field;
/** 2^63, negative as a signed number. */
export const NEGATIVE = 1n << 63n;

/** Applies these kinds of damage to one image. */
export function rows(what: string, fixture: string, kinds: readonly DamageRow[]): Damage[] {
  return kinds.map(([name, damage, fallout = "any"]) => ({
    name: `v6 ${what}: ${name}`,
    fixture,
    apply(copy) {
      damage(copy.bootstrap, new V6Places(copy), copy);
      return fallout;
    },
  }));
}
