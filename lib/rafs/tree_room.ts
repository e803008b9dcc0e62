/**
 * Ends what a hostile image makes endless: inodes and folders that overlap say the same bytes over and over, so that what
 * they say together grows with the square of the image's size. In an honest image each byte is part of one.
 *
 * @module
 */
import { unreadable } from "./guard.ts";

/** Bytes of the smallest chunk index. */
export const LEAST_CHUNK = 8;

/** Fewer bytes than any directory entry of either version takes. */
export const LEAST_ENTRY = 12;

/** What is left of an image for its names, and for its inodes, each of them counted once. */
export class TreeRoom {
  #entries: number;
  #chunks: number;
  #bytes: number;

  /** @param byteLength bytes of the image */
  constructor(byteLength: number) {
    this.#entries = Math.ceil(byteLength / LEAST_ENTRY);
    this.#chunks = Math.ceil(byteLength / LEAST_CHUNK);
    this.#bytes = byteLength;
  }

  /** One more name in the directory. @throws {RafsError} when the image has no room for it */
  takeEntry(ino: number): void {
    if (--this.#entries < 0) unreadable("RAFS tree", ino, "it has more entries than the image has room for");
  }

  /** One more chunk of a file. @throws {RafsError} as {@link takeEntry} */
  takeChunk(ino: number): void {
    if (--this.#chunks < 0) unreadable("RAFS tree", ino, "its files have more chunks than the image has room for");
  }

  /** Values of attributes: names may be longer than what is stored of them. @throws {RafsError} as {@link takeEntry} */
  takeXattrs(ino: number, xattrs: readonly (readonly [name: Uint8Array, value: Uint8Array])[]): void {
    this.takeBytes(ino, xattrs.reduce((sum, [, { length }]) => sum + length, 0));
  }

  /** Bytes of a link's target. @throws {RafsError} as {@link takeEntry} */
  takeBytes(ino: number, count: number): void {
    this.#bytes -= count;
    if (this.#bytes < 0) unreadable("RAFS tree", ino, "its inodes have more bytes than the image has room for");
  }
}
