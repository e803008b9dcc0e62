/**
 * Ends what a hostile image makes endless: inodes that overlap say the same bytes over and over, so that what they say
 * together grows with the square of the image's size. In an honest image each byte is part of one inode.
 *
 * @module
 */
import { unreadable } from "./guard.ts";

/** Bytes of the smallest chunk index. */
export const LEAST_CHUNK = 8;

/** What is left of an image for its inodes, each of them counted once. */
export class TreeRoom {
  #chunks: number;
  #bytes: number;

  /** @param byteLength bytes of the image */
  constructor(byteLength: number) {
    this.#chunks = Math.ceil(byteLength / LEAST_CHUNK);
    this.#bytes = byteLength;
  }

  /** One more chunk of a file. @throws {RafsError} when the image has no room for it */
  takeChunk(ino: number): void {
    if (--this.#chunks < 0) unreadable("RAFS tree", ino, "its files have more chunks than the image has room for");
  }

  /** Values of attributes: names may be longer than what is stored of them. @throws {RafsError} as {@link takeChunk} */
  takeXattrs(ino: number, xattrs: readonly (readonly [name: Uint8Array, value: Uint8Array])[]): void {
    this.takeBytes(ino, xattrs.reduce((sum, [, { length }]) => sum + length, 0));
  }

  /** Bytes of a link's target. @throws {RafsError} as {@link takeChunk} */
  takeBytes(ino: number, count: number): void {
    this.#bytes -= count;
    if (this.#bytes < 0) unreadable("RAFS tree", ino, "its inodes have more bytes than the image has room for");
  }
}
