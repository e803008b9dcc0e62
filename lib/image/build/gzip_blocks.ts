/**
 * gzip in blocks that any thread can compress: each is deflated by itself and ends at a whole byte, and all of them are
 * one stream with one header and one checksum, as pigz makes it. The output depends on the data only. Sources: RFC 1951,
 * RFC 1952.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { nodeZlib } from "../../base/node_modules.ts";

/** Bytes of a block. Smaller ones spread better over the cores; larger ones are smaller in all. */
const BLOCK_BYTES = 256 << 10;

/** Level 6, zlib's default, takes half as long again and saves 0.1 % of a bootstrap. */
const LEVEL = 5;

/** Size of zlib's output buffers, on which the output depends. */
const DEFLATED_BYTES = 128 << 10;

/** Magic, deflate, no flags, no time, no hint, unknown system: the same data yields the same output. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/**
 * Turns of the event loop in which most replies of other threads are seen. After fewer, this thread deflates what others
 * could have. All of them take 0.1 ms at most, a block 2 to 3.
 */
const TURNS = 16;

/** An empty last block of deflate. */
const LAST_BLOCK = Uint8Array.of(3, 0);

/** Compresses consecutive parts of one stream. The output does not depend on their sizes. */
export type Pack = (parts: Iterable<Uint8Array>) => Promise<Uint8Array[]>;

/** A deflated block, and the memory of the plain one. */
export interface DeflatedBlock {
  readonly deflated: Uint8Array<ArrayBuffer>;
  readonly room: Uint8Array<ArrayBuffer>;
}

/**
 * Has another thread deflate `block[0, sizeBytes)` and takes over its memory; undefined if none has time. Must call
 * {@link deflateBlock} there.
 */
export type Helper = (block: Uint8Array<ArrayBuffer>, sizeBytes: number) => Promise<DeflatedBlock> | undefined;

/** Deflates a block of {@link packBlocks}. */
export function deflateBlock(block: Uint8Array): Uint8Array<ArrayBuffer> {
  const { deflateRawSync, constants } = nodeZlib();
  const options = { level: LEVEL, finishFlush: constants.Z_SYNC_FLUSH, chunkSize: DEFLATED_BYTES };
  return new Uint8Array(deflateRawSync(block, options));
}

/** Compresses in the calling thread. @throws errors of `parts` */
export function packHere(parts: Iterable<Uint8Array>): Promise<Uint8Array[]> {
  return packBlocks(parts, () => undefined);
}

/** Compresses in this thread while `help` has no time. @throws errors of `parts` and of `help` */
export async function packBlocks(parts: Iterable<Uint8Array>, help: Helper): Promise<Uint8Array[]> {
  const stream = new BlockStream(help);
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      at += stream.fill(part.subarray(at));
      if (stream.isBlockFull) await stream.endBlock();
    }
  }
  return await stream.end();
}

class BlockStream {
  readonly #deflated: (Uint8Array | Promise<Uint8Array>)[] = [];
  /** Memory for blocks. */
  readonly #rooms: Uint8Array<ArrayBuffer>[] = [];
  #block = new Uint8Array(BLOCK_BYTES);
  /** Bytes in {@link #block}. */
  #filled = 0;
  #bytes = 0;
  #checksum = 0;

  constructor(private readonly help: Helper) {}

  get isBlockFull(): boolean {
    return this.#filled === BLOCK_BYTES;
  }

  /** Copies the beginning of `bytes` into the block and returns how much of it fitted. */
  fill(bytes: Uint8Array): number {
    const fitting = bytes.subarray(0, BLOCK_BYTES - this.#filled);
    this.#block.set(fitting, this.#filled);
    this.#filled += fitting.length;
    return fitting.length;
  }

  async endBlock(): Promise<void> {
    const block = this.#block, sizeBytes = this.#filled;
    this.#bytes += sizeBytes;
    this.#checksum = nodeZlib().crc32(block.subarray(0, sizeBytes), this.#checksum);
    this.#filled = 0;
    const helped = this.help(block, sizeBytes);
    if (helped === undefined) {
      this.#deflated.push(deflateBlock(block.subarray(0, sizeBytes)));
    } else {
      const deflated = helped.then((done) => {
        this.#rooms.push(done.room);
        return done.deflated;
      });
      deflated.catch(() => {}); // reported when awaited
      this.#deflated.push(deflated);
      this.#block = this.#rooms.pop() ?? new Uint8Array(BLOCK_BYTES);
    }
    await eventsHandled();
  }

  async end(): Promise<Uint8Array[]> {
    if (this.#filled > 0) await this.endBlock();
    const trailer = new Uint8Array(8);
    const view = new DataView(trailer.buffer);
    view.setUint32(0, this.#checksum, true);
    view.setUint32(4, this.#bytes >>> 0, true);
    return [HEADER, ...await Promise.all(this.#deflated), LAST_BLOCK, trailer];
  }
}

/** Lets replies of other threads arrive. */
async function eventsHandled(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
