/**
 * Where a layer's chunks go: to a new blob (blob_chunks.ts), or they are in a gzip layer already (gzip_chunks.ts).
 *
 * @module
 */
import type { ChunkInfos } from "../../../rafs/memory/chunk_info_table.ts";
import type { ChunkLocation } from "../../../rafs/v6/writer.ts";
import type { DictionaryBlob } from "./chunk_dictionary.ts";
import type { FileChunk } from "./parcel.ts";

/** Collects the chunks of one blob. Places are numbered in the order of the calls that return them. */
export interface LayerChunks {
  /** Bytes of chunk data so far. */
  readonly size: number;
  /** Whether {@link settle} must be awaited before more is added. */
  readonly isFull: boolean;
  /** Number of stored chunks of this blob. */
  readonly count: number;
  /** Row of this blob in the blob table. */
  readonly own: { index: number };
  /** Dictionary blobs in which chunks were found, in order of first use, with the object that numbers their rows. */
  readonly dictionaryBlobs: readonly (readonly [DictionaryBlob, { index: number }])[];
  /** This blob's chunks, followed by those found in the dictionary. */
  readonly all: ChunkInfos;
  /**
   * Begins a chunk from a layer's data. {@link add} follows, unless the layer fails.
   *
   * @param bytes its first ones, where the reader of the layer has them
   * @param size bytes of the chunk
   */
  begin?(bytes: Uint8Array, size: number): void;
  /** Adds a chunk and returns its place. */
  add(source: Uint8Array | FileChunk, size: number, isWholeFile: boolean): number;
  /** Adds another place of the chunk at the given one. */
  addAgain(place: number): number;
  /** Waits for the Workers until there is room for more. */
  settle(): Promise<void>;
  /** Waits until everything is stored. */
  finish(): Promise<void>;
  /** Resolves a place; possible once everything is stored and the blobs are numbered. */
  placeOf(place: number): ChunkLocation;
  /** Drops the chunks, once they are no longer needed. */
  clear(): void;
}
