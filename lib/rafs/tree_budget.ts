/**
 * Bounds the work that a hostile image can cause. Overlapping inodes and directories reuse the same bytes, so that
 * their total grows with the square of the image's size; in a well-formed image each byte belongs to only one of them.
 *
 * @module
 */
import { unreadable } from "./format/guard.ts";

/** Size of the smallest chunk index. */
export const MIN_CHUNK_BYTES = 8;

/** Lower bound of the size of a directory entry, in either version. */
export const MIN_ENTRY_BYTES = 12;

/** Names, chunks and bytes that the rest of an image can hold. Each inode is counted once. */
export class TreeBudget {
  #entries: number;
  #chunks: number;
  #bytes: number;

  /** @param byteLength bytes of the image */
  constructor(byteLength: number) {
    this.#entries = Math.ceil(byteLength / MIN_ENTRY_BYTES);
    this.#chunks = Math.ceil(byteLength / MIN_CHUNK_BYTES);
    this.#bytes = byteLength;
  }

  /** Counts one more entry of directory `ino`. @throws {RafsError} when the image is too small for it */
  takeEntry(ino: number): void {
    if (--this.#entries < 0) unreadable("RAFS tree", ino, "it has more entries than its size permits");
  }

  /** Counts one more chunk of file `ino`. @throws {RafsError} as {@link takeEntry} */
  takeChunk(ino: number): void {
    if (--this.#chunks < 0) unreadable("RAFS tree", ino, "its files have more chunks than its size permits");
  }

  /** Counts attribute values; names may be stored in a shorter form. @throws {RafsError} as {@link takeEntry} */
  takeXattrs(ino: number, xattrs: readonly (readonly [name: Uint8Array, value: Uint8Array])[]): void {
    this.takeBytes(ino, xattrs.reduce((sum, [, { length }]) => sum + length, 0));
  }

  /** Counts bytes of an inode, such as a symlink target. @throws {RafsError} as {@link takeEntry} */
  takeBytes(ino: number, count: number): void {
    this.#bytes -= count;
    if (this.#bytes < 0) unreadable("RAFS tree", ino, "its inodes have more bytes than its size permits");
  }
}
