/**
 * The chunks of a layer whose data stay in it: digested, and placed in slices of the layer that readers inflate.
 *
 * ```
 * tar      │ header │ chunk │ header │ chunk ……… │ chunk │ …
 * blocks   │     ▲      │        │         │ ▲         │           ▲ a context: a slice begins
 * slices         └─────────────────────────┤ └─────────────────┤   each ends with a chunk, and may overlap the next
 * ```
 * A chunk is in the current slice, or in a new one that begins where its own deflate block does. Equal chunks are one. Of
 * the window before a slice, only what the slice refers to is kept (window_use.ts). Memory: about 4 KiB per context, 4
 * bytes per place, 120 per chunk.
 *
 * Source: dragonflyoss/nydus utils/src/compress/zlib_random.rs.
 *
 * @module
 */
import { digest } from "../../../blob/codec/codec.ts";
import { CHUNK_FLAG, type Digester } from "../../../rafs/bootstrap.ts";
import { type ChunkInfos, ChunkInfoTable } from "../../../rafs/memory/chunk_info_table.ts";
import type { ChunkInfoWriter } from "../../../rafs/blob/chunk_info_writer.ts";
import { DigestNumbers } from "../../../rafs/blob/digest_numbers.ts";
import { LIMIT } from "../../../rafs/format/flags.ts";
import type { GzipContext } from "../../../rafs/blob/gzip_context_writer.ts";
import { GrowingColumn } from "../../../rafs/memory/growing.ts";
import type { ImageMemory } from "../../../rafs/memory/image_memory.ts";
import type { ChunkLocation } from "../../../rafs/v6/writer.ts";
import type { GzipPiece, GzipWalk } from "./gzip_walk.ts";
import { UnreferableError } from "./unreferable.ts";
import { usedWindow } from "./window_use.ts";
import type { LayerChunks } from "./layer_chunks.ts";
import type { FileChunk } from "./parcel.ts";

/** Bytes of the layer after which a slice ends, and of the tar: docs/performance/convert.md. */
const SLICE_BYTES = 512 << 10;
const SLICE_PLAIN_BYTES = 2 << 20;

/** Bytes of the layer after which a slice ends where a member does: the next one needs no window. */
const MEMBER_SLICE_BYTES = 64 << 10;

/** A context whose slice may still grow. */
type OpenContext = { -readonly [Key in keyof GzipContext]: GzipContext[Key] };

/** Dependencies of {@link GzipChunks}. */
export interface GzipChunksOptions {
  readonly walk: GzipWalk;
  readonly digester: Digester;
  readonly infos: ChunkInfoWriter;
  /** Memory for data that is read only sequentially. */
  readonly memory: ImageMemory | undefined;
}

/** Collects the chunks of one gzip layer. */
export class GzipChunks implements LayerChunks {
  readonly size = 0;
  readonly isFull = false;
  readonly own = { index: 0 };
  readonly dictionaryBlobs = [];
  #records: ChunkInfoTable;
  readonly #digests = new DigestNumbers();
  /** Chunk index by place. */
  readonly #places = GrowingColumn.u32();
  readonly #contexts: OpenContext[] = [];
  /** The chunk that was begun: where it is, and the slice that begins with it, if it is not in the current one. */
  #start = 0;
  #inStart = 0;
  #next: OpenContext | undefined;
  /** The context whose slice takes more chunks: the last one, or none. */
  #current: OpenContext | undefined;

  constructor(private readonly options: GzipChunksOptions) {
    this.#records = new ChunkInfoTable(options.memory);
  }

  get count(): number {
    return this.#records.count;
  }

  get all(): ChunkInfos {
    return this.#records;
  }

  begin(bytes: Uint8Array, size: number): void {
    const { walk } = this.options;
    this.#start = walk.outOf(bytes);
    this.#inStart = inOf(walk.piece, this.#start);
    if (this.#current !== undefined && !this.#fits(this.#current, size)) this.#closeCurrent();
    this.#next = this.#current === undefined ? this.#newContext() : undefined;
    const { outOffset, inOffset } = this.#next ?? this.#current as OpenContext;
    walk.forget(inOffset);
    if (this.#start + size - outOffset <= LIMIT.chunkSize && this.#inStart - inOffset <= LIMIT.chunkSize) return;
    throw new UnreferableError(`it has a deflate block of more than ${LIMIT.chunkSize >> 20} MiB at ${inOffset}`);
  }

  add(source: Uint8Array | FileChunk, size: number): number {
    if (!(source instanceof Uint8Array)) throw new TypeError("a layer has no files");
    const known = this.#digests.count;
    const index = this.#digests.numberOf(digest(this.options.digester, source), 0);
    if (index === known) this.#store(index, size);
    return this.#places.push(index);
  }

  addAgain(place: number): number {
    return this.#places.push(this.#places.at(place));
  }

  settle(): Promise<void> {
    return Promise.resolve();
  }

  finish(): Promise<void> {
    this.#closeCurrent();
    this.options.infos.setGzipContexts(this.#contexts);
    return Promise.resolve();
  }

  placeOf(place: number): ChunkLocation {
    const chunkIndex = this.#places.at(place);
    return {
      blobIndex: this.own.index,
      chunkIndex,
      uncompressedOffset: this.#records.uncompressedOffsetOf(chunkIndex),
    };
  }

  clear(): void {
    this.#records = new ChunkInfoTable();
    this.#digests.clear();
    this.#places.clear();
    this.#contexts.length = 0;
  }

  /** Whether the chunk belongs to the current slice: another one would begin at the same block, or too soon. */
  #fits(current: OpenContext, size: number): boolean {
    const { block, piece } = this.options.walk;
    if (block.in === current.inOffset) return true;
    const length = this.#inStart - current.inOffset;
    if (length >= SLICE_BYTES || this.#start + size - current.outOffset >= SLICE_PLAIN_BYTES) return false;
    return !(piece.beginsMember && length >= MEMBER_SLICE_BYTES);
  }

  /** Ends the current slice, and keeps what it needs of the window. */
  #closeCurrent(): void {
    const context = this.#current;
    this.#current = undefined;
    if (context === undefined || context.window.length === 0) return;
    context.window = usedWindow(context, this.options.walk.storedAt(context.inOffset, context.inLength));
  }

  #newContext(): OpenContext {
    const { walk } = this.options;
    const { in: inOffset, out: outOffset, bits, byte } = walk.block;
    return { inOffset, outOffset, bits, byte, inLength: 0, outLength: 0, window: walk.copyWindow() };
  }

  #store(index: number, size: number): void {
    const { walk, infos } = this.options;
    if (this.#next !== undefined) this.#contexts.push(this.#current = this.#next);
    const context = this.#current as OpenContext;
    const end = this.#start + size;
    this.#endSlice(context, end);
    const compressedOffset = this.#inStart;
    const compressedSize = inOf(walk.piece, end) - compressedOffset;
    const { uncompressedOffset } = infos.addToSlice({
      size,
      compressedOffset,
      compressedSize,
      context: this.#contexts.length - 1,
      contextOffset: this.#start - context.outOffset,
    });
    this.#records.push({
      blobIndex: 0,
      chunkIndex: index,
      digest: this.#digests.digestOf(index),
      flags: CHUNK_FLAG.compressed,
      compressedOffset,
      compressedSize,
      uncompressedOffset,
      uncompressedSize: size,
      crc32: 0,
    });
  }

  /**
   * Has the slice contain the tar up to `end`. nydusd does not expect a slice to end where a member does: one that would
   * includes a byte of the next one.
   */
  #endSlice(context: OpenContext, end: number): void {
    const { walk } = this.options;
    const { bytes, out, inEnd } = walk.piece;
    context.outLength = end - context.outOffset;
    context.inLength = inEnd - context.inOffset;
    if (end < out + bytes.length) return;
    walk.whenNext((next) => {
      context.inLength = next.inEnd - context.inOffset;
      if (next.beginsMember) context.outLength++;
    });
  }
}

/** About where a byte of the tar is in the layer. Ascends with `out`. */
function inOf({ bytes, out: start, inStart, inEnd }: GzipPiece, out: number): number {
  return inStart + Math.floor((out - start) * (inEnd - inStart) / bytes.length);
}
