/**
 * Tar headers for tests, down to the single field, and a reader of whole archives.
 *
 * @module
 */
import { BLOCK_SIZE, HEADER } from "../../../lib/archive/tar.ts";
import { checksums } from "../../../lib/archive/tar_header.ts";
import { formatPaxRecord } from "../../../lib/archive/tar_pax.ts";
import { TarReader } from "../../../lib/archive/tar_reader.ts";
import { tarPadding } from "../../../lib/archive/tar_writer.ts";
import { concatenate, fromByteString, toByteString } from "../../../lib/base/bytes.ts";
import type { TestEntry } from "./tar_builder.ts";

/** Reads a whole archive that arrives in pieces of `pieceBytes`. */
export function readAll(archive: Uint8Array, pieceBytes = archive.length || 1): TestEntry[] {
  const out: TestEntry[] = [];
  let last: TestEntry | undefined;
  const reader = new TarReader({
    entry: (entry) => out.push(last = { entry, content: new Uint8Array(Math.min(entry.sizeBytes, 1 << 24)) }),
    data: (piece, offset) => last?.content.set(piece, offset),
    endEntry: () => last = undefined,
  });
  for (let at = 0; at < archive.length; at += pieceBytes) reader.push(archive.subarray(at, at + pieceBytes));
  reader.finish();
  return out;
}

/** A header block with fields given as text and a valid checksum. */
export function rawHeader(
  fields: Partial<Record<keyof typeof HEADER, string>>,
  signed = false,
): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK_SIZE);
  for (const [key, value] of Object.entries({ mode: "0000644", size: "00000000000", typeFlag: "0", ...fields })) {
    block.set(fromByteString(value), HEADER[key as keyof typeof HEADER][0]);
  }
  const sums = checksums(block);
  block.set(
    fromByteString((signed ? sums.signed : sums.unsigned).toString(8).padStart(6, "0") + "\0 "),
    HEADER.checksum[0],
  );
  return block;
}

/** A special header ("x", "g", "L", "K") and its body. */
export function special(typeFlag: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = body.length.toString(8).padStart(11, "0");
  return concatenate([
    rawHeader({ name: "special", typeFlag, size, magic: "ustar\x0000" }),
    body,
    tarPadding(body.length),
  ]);
}

/** The body of a PAX header. */
export function pax(records: [string, string][]): Uint8Array<ArrayBuffer> {
  return concatenate([...records.map(([key, value]) => formatPaxRecord(key, fromByteString(value)))]);
}

/** Names of the entries read. */
export function names(read: readonly TestEntry[]): string[] {
  return read.map(({ entry }) => toByteString(entry.name));
}
