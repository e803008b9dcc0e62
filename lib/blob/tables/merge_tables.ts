/**
 * Adds what a second image knows of an open blob to its table, in place, since other threads are reading the table.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { applyDigests } from "../../rafs/blob/blob_meta.ts";
import type { BlobDescriptor, ChunkRecord } from "../../rafs/bootstrap.ts";
import { isDigestKnown } from "../../rafs/blob/chunk_digests.ts";
import { type ChunkColumns, DIGEST_SIZE } from "../../rafs/blob/chunk_table.ts";
import { ChunkIndex } from "./chunk_index.ts";

/**
 * Adds the digests of a v6 image.
 *
 * @throws {RafsError} when one contradicts what is known; then nothing is added
 */
export function addDigests(
  columns: ChunkColumns,
  descriptor: BlobDescriptor,
  records: Iterable<Readonly<ChunkRecord>>,
): void {
  const digests = columns.digests.slice();
  applyDigests({ ...columns, digests }, descriptor.index, records);
  columns.digests.set(digests);
}

/**
 * Adds the rows that only the second v5 image uses. A row becomes valid with its size, which is written last.
 *
 * @param dataSize size of the data file in bytes
 * @throws {NydusGdError} "invalid-image" when the images contradict each other; then nothing is added
 */
export function addRows(id: string, columns: ChunkColumns, own: ChunkColumns, dataSize: number): void {
  const refuse = (state: string): never => {
    throw new NydusGdError("invalid-image", `Cannot open blob ${id}: ${state} in a mounted image`);
  };
  if (own.count !== columns.count) refuse(`it has ${own.count} chunks in this image and ${columns.count}`);
  const digestOf = ({ digests }: ChunkColumns, row: number) =>
    digests.slice(row * DIGEST_SIZE, (row + 1) * DIGEST_SIZE).toHex();
  // chunk digests of a plain tar are known only to the first image, which read it
  const facts = (of: ChunkColumns, row: number) =>
    [
      of.uncompressedOffset[row],
      of.uncompressedSize[row],
      of.compressedOffset[row],
      of.compressedSize[row],
      of.flags[row],
      isDigestKnown(own, row) ? digestOf(of, row) : "",
    ].join();
  const added: number[] = [];
  for (let row = 0; row < own.count; row++) {
    if (own.uncompressedSize[row] === 0) continue;
    if (columns.uncompressedSize[row] === 0) added.push(row);
    else if (facts(own, row) !== facts(columns, row)) refuse(`chunk ${row} differs from the one`);
  }
  const index = new ChunkIndex(columns);
  for (const row of added) {
    const offset = own.uncompressedOffset[row] as number, size = own.uncompressedSize[row] as number;
    if (offset + size > dataSize) refuse(`chunk ${row} ends at ${offset + size}, the address space at ${dataSize}`);
    if (index.rowsIn(offset, size).length > 0) refuse(`chunk ${row} overlaps another`);
  }
  for (const row of added) {
    columns.digests.set(own.digests.subarray(row * DIGEST_SIZE, (row + 1) * DIGEST_SIZE), row * DIGEST_SIZE);
    columns.uncompressedOffset[row] = own.uncompressedOffset[row] as number;
    columns.compressedOffset[row] = own.compressedOffset[row] as number;
    columns.compressedSize[row] = own.compressedSize[row] as number;
    columns.crc32[row] = own.crc32[row] as number;
    columns.flags[row] = own.flags[row] as number;
    columns.uncompressedSize[row] = own.uncompressedSize[row] as number;
  }
}
