/**
 * nydusd's chunk map: which chunks a cache file claims to hold.
 *
 * ```
 *    0  u32 magic 0x424d4150 │ u32 version 1 │ u32 magic2 0x434d4150 │ u32 all ready: 0, or 0x4d4d4150 │ zeros
 * 4096  one bit per chunk, most significant first
 * ```
 * Little-endian. A size other than 4096 + ceil(chunks / 8) or a wrong magic is an error. In a file of zeros the creator
 * stopped before writing the header; the header is written then. Version 0 had neither magic2 nor the all-ready word.
 *
 * nydusd sets a bit before the chunk is on disk and does not always check digests, so a bit is only a claim;
 * verified.ts holds the evidence. nydusd changes the map by compare-and-swap in a shared mapping; this class writes
 * whole bytes and needs exclusive access.
 *
 * Source: dragonflyoss/nydus storage/src/cache/state/persist_map.rs.
 *
 * @module
 */
import { ftruncate, preadExact, pwriteAll } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { bitmapSize, clearBit, fillBits, hasBit, maskTail, setBit } from "./bits.ts";
import { CacheFile } from "./cache_file.ts";

/** Byte offsets and values of the header. */
export const CHUNK_MAP = {
  HEADER_SIZE: 4096,
  magic: 0,
  version: 4,
  magic2: 8,
  allReady: 12,
  MAGIC: 0x424d4150,
  MAGIC2: 0x434d4150,
  ALL_READY: 0x4d4d4150,
  VERSION: 1,
} as const;

/** The chunk map file of one blob. */
export class ChunkMap implements Disposable {
  private constructor(
    private readonly file: CacheFile,
    /** The claims, with unused bits clear; mirrors the file. */
    readonly bits: Uint8Array<ArrayBuffer>,
    /** Whether the all-ready word of the file is set. */
    private allReady: boolean,
  ) {}

  /**
   * Opens the map of a blob with `count` chunks, creating an empty one if needed.
   *
   * @throws {NydusGdError} "corrupt" for a file that is not this blob's map, "io"
   */
  static open(path: string, count: number): ChunkMap {
    const file = CacheFile.open(path);
    try {
      const { bits, allReady } = load(file, count);
      return new ChunkMap(file, bits, allReady);
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /** Claims chunks. Ascending rows cost one write per run of bytes. */
  claim(rows: Iterable<number>): void {
    let from = -1, to = -1;
    for (const row of rows) {
      if (hasBit(this.bits, row)) continue;
      setBit(this.bits, row);
      const byte = row >> 3;
      if (from >= 0 && byte !== to && byte !== to + 1) {
        this.#write(from, to + 1);
        from = -1;
      }
      if (from < 0) from = byte;
      to = byte;
    }
    if (from >= 0) this.#write(from, to + 1);
  }

  /**
   * Withdraws the claims of chunks that are not what the image expects: those in memory also if the disk fails.
   *
   * @returns whether any of them was claimed
   */
  disclaim(rows: readonly number[]): boolean {
    const claimed = rows.filter((row) => hasBit(this.bits, row));
    for (const row of claimed) clearBit(this.bits, row);
    for (const row of claimed) this.#writeDisclaimed(row);
    return claimed.length > 0;
  }

  #writeDisclaimed(row: number): void {
    if (this.allReady) {
      // the all-ready word stands for every bit, so the bits must be written before it is cleared
      this.#write(0, this.bits.length);
      pwriteAll(this.file.fd, new Uint8Array(4), CHUNK_MAP.allReady);
      this.allReady = false;
    } else {
      this.#write(row >> 3, (row >> 3) + 1);
    }
  }

  /** Syncs changed bits to disk. */
  sync(): Promise<void> {
    return this.file.syncData();
  }

  /** Sets its mtime. */
  touch(time: Date): void {
    this.file.touch(time);
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }

  #write(from: number, to: number): void {
    pwriteAll(this.file.fd, this.bits.subarray(from, to), CHUNK_MAP.HEADER_SIZE + from);
  }
}

/** What the file says, whose header is written if it has none. */
function load(
  file: CacheFile,
  count: number,
): { readonly bits: Uint8Array<ArrayBuffer>; readonly allReady: boolean } {
  const { path, fd } = file;
  const bits = new Uint8Array(bitmapSize(count));
  const expected = CHUNK_MAP.HEADER_SIZE + bits.length;
  if (file.sizeBytes === 0) {
    ftruncate(fd, expected);
  } else if (file.sizeBytes !== expected) {
    damaged(path, 0, `it has ${file.sizeBytes} bytes, expected ${expected} for ${count} chunks`);
  }
  const header = new Uint8Array(CHUNK_MAP.HEADER_SIZE);
  preadExact(fd, header, 0);
  preadExact(fd, bits, CHUNK_MAP.HEADER_SIZE);
  const view = new DataView(header.buffer);
  const magic = view.getUint32(CHUNK_MAP.magic, true);
  if (magic !== CHUNK_MAP.MAGIC) {
    if (!header.every((byte) => byte === 0) || !bits.every((byte) => byte === 0)) {
      damaged(path, CHUNK_MAP.magic, `magic is 0x${magic.toString(16)}, expected 0x${CHUNK_MAP.MAGIC.toString(16)}`);
    }
    pwriteAll(fd, newHeader(), 0);
    return { bits, allReady: false };
  }
  const version = view.getUint32(CHUNK_MAP.version, true);
  const magic2 = view.getUint32(CHUNK_MAP.magic2, true);
  if (version >= 1 && magic2 !== CHUNK_MAP.MAGIC2) {
    damaged(path, CHUNK_MAP.magic2, `magic2 is 0x${magic2.toString(16)}, expected 0x${CHUNK_MAP.MAGIC2.toString(16)}`);
  }
  const allReady = version >= 1 && view.getUint32(CHUNK_MAP.allReady, true) === CHUNK_MAP.ALL_READY;
  if (allReady) fillBits(bits, count);
  else maskTail(bits, count);
  return { bits, allReady };
}

function newHeader(): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(CHUNK_MAP.HEADER_SIZE));
  view.setUint32(CHUNK_MAP.magic, CHUNK_MAP.MAGIC, true);
  view.setUint32(CHUNK_MAP.version, CHUNK_MAP.VERSION, true);
  view.setUint32(CHUNK_MAP.magic2, CHUNK_MAP.MAGIC2, true);
  return new Uint8Array(view.buffer);
}

function damaged(path: string, at: number, state: string): never {
  throw new NydusGdError("corrupt", `Cannot read chunk map "${path}" at ${at}: ${state}`);
}
