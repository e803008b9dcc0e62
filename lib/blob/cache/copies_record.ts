/**
 * What the kernel's own copies of a blob's plain data go by (lib/mount/fscache), and what they may be copies of.
 *
 * Nothing compares a copy with a digest any more: it is believed as long as it has its name. So a name stands for places
 * and digests: what may ever be copied under it is on disk here before the name is told. An image whose word on a chunk is
 * another gets another name, and so does everybody after the data file was replaced or the record was lost; copies under
 * the former name are nobody's from then on.
 *
 * ```
 *  0  "NGDCOPY1" │ u32 digester │ u32 chunks │ u64 inode of the data file │ i64 its birth in ms │ 16 bytes at random │ zeros
 * 64  48 bytes a chunk, as in verified.ts                                                 all zeros: nobody has named it
 * ```
 * Little-endian, in `<name>.blob.copies` beside nydusd's own files.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { equalBytes } from "../../base/bytes.ts";
import { ignore } from "../../base/errors.ts";
import { DIGESTER, type Digester } from "../../rafs/bootstrap.ts";
import { isDigestKnown } from "../../rafs/chunk_digests.ts";
import type { FileIdentity } from "./cache_file.ts";
import type { CacheFolder } from "./cache_files.ts";
import { PlaceIndex } from "../tables/chunk_index.ts";
import { type CheckedColumns, encodeRows, VERIFIED_ROW } from "./verified.ts";

/** Byte offsets of the header. */
const HEADER = { SIZE: 64, magic: 0, digester: 8, count: 12, inode: 16, born: 24, nonce: 32, NONCE_SIZE: 16 } as const;
const MAGIC = new TextEncoder().encode("NGDCOPY1");

/** Stands for a file that has no part in a name. */
const NO_FILE: FileIdentity = { inode: 0n, bornMs: 0n };

/** What is copied. */
export interface CopiesSubject {
  readonly digester: Digester;
  /** Which file the data are in. */
  readonly data: FileIdentity;
  /** What the images that have the blob open say of its chunks: they agree. */
  readonly columns: CheckedColumns;
}

/**
 * The name for copies of what the open blob has, 64 hexadecimal digits: that of the record at `path` where nothing in it
 * contradicts the blob, else a new one. The record is complete and on disk when this resolves. One call at a time.
 *
 * In a folder that keeps nothing the name is that of these very digests.
 *
 * @throws {Error} what the disk says
 */
export async function copiesName(folder: CacheFolder, path: string, subject: CopiesSubject): Promise<string> {
  if (!folder.keeps) return nameOf(encode({ ...subject, data: NO_FILE }));
  const fresh = encode(subject);
  const before = await ignore(Deno.errors.NotFound, Deno.readFile(path));
  const record = before && merge(before, fresh, subject.columns) || withNonce(fresh, randomBytes(HEADER.NONCE_SIZE));
  if (before !== undefined && equalBytes(before, record)) await folder.sync(); // who wrote it may have been killed at it
  else await folder.replace(path, record);
  return nameOf(record.subarray(0, HEADER.SIZE));
}

/** Of a subject, with a nonce of zeros. */
function encode({ digester, data, columns }: CopiesSubject): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(HEADER.SIZE + columns.count * VERIFIED_ROW.SIZE);
  const view = new DataView(record.buffer);
  record.set(MAGIC, HEADER.magic);
  view.setUint32(HEADER.digester, DIGESTER[digester], true);
  view.setUint32(HEADER.count, columns.count, true);
  view.setBigUint64(HEADER.inode, data.inode, true);
  view.setBigInt64(HEADER.born, data.bornMs, true);
  record.set(encodeRows(0, columns.count, columns), HEADER.SIZE);
  for (let row = 0; row < columns.count; row++) if (!isDigestKnown(columns, row)) rowOf(record, row).fill(0);
  return record;
}

/** What `before` and `fresh` say together, under the name of `before`; undefined where they contradict each other. */
function merge(
  before: Uint8Array,
  fresh: Uint8Array<ArrayBuffer>,
  columns: CheckedColumns,
): Uint8Array<ArrayBuffer> | undefined {
  const nonce = before.subarray(HEADER.nonce, HEADER.nonce + HEADER.NONCE_SIZE);
  const merged = withNonce(fresh.slice(), nonce);
  if (before.length !== merged.length) return undefined;
  if (!equalBytes(before.subarray(0, HEADER.SIZE), merged.subarray(0, HEADER.SIZE))) return undefined;
  const places = new PlaceIndex(columns);
  for (let row = 0; row < columns.count; row++) {
    const old = rowOf(before, row), own = rowOf(merged, row);
    if (isBlank(old) || equalBytes(old, own)) continue;
    if (!isBlank(own) || !isFree(old, row, places)) return undefined;
    own.set(old);
  }
  return merged;
}

/** Whether the place of a chunk whose digest the blob does not know has no other chunk. */
function isFree(old: Uint8Array, row: number, places: PlaceIndex): boolean {
  const view = new DataView(old.buffer, old.byteOffset, old.length);
  const offset = Number(view.getBigUint64(VERIFIED_ROW.offset, true));
  return places.rowsIn(offset, view.getUint32(VERIFIED_ROW.size, true)).every((other) => other === row);
}

function rowOf(record: Uint8Array, row: number): Uint8Array {
  const at = HEADER.SIZE + row * VERIFIED_ROW.SIZE;
  return record.subarray(at, at + VERIFIED_ROW.SIZE);
}

function isBlank(row: Uint8Array): boolean {
  return row.every((byte) => byte === 0);
}

function withNonce(record: Uint8Array<ArrayBuffer>, nonce: Uint8Array): Uint8Array<ArrayBuffer> {
  record.set(nonce, HEADER.nonce);
  return record;
}

function nameOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
