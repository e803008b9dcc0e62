/**
 * Names for the kernel's own copies of a blob's plain data (lib/mount/fscache), and the chunks that a name stands for.
 *
 * Copies are not verified again: a copy is trusted as long as it has its name. So a name stands for fixed chunk places
 * and digests; everything that may be copied under it is recorded on disk here before the name is handed out. An image
 * that contradicts the record on a chunk gets a new name. So does every image after the data file was replaced or the
 * record was lost; copies under the old name are orphaned.
 *
 * ```
 *  0  "NGDCOPY1" │ u32 digester │ u32 chunks │ u64 inode of the data file │ i64 its birth in ms │ 16 random bytes │ 0
 * 64  48 bytes per chunk, as in verified.ts                                          all zeros: not known to any image
 * ```
 * Little-endian, in `<name>.blob.copies` beside nydusd's own files.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { equalBytes } from "../../base/bytes.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { DIGESTER, type Digester } from "../../rafs/bootstrap.ts";
import { isDigestKnown } from "../../rafs/blob/chunk_digests.ts";
import type { FileIdentity } from "./cache_file.ts";
import type { CacheFolder } from "./cache_folder.ts";
import { PlaceIndex } from "../tables/chunk_index.ts";
import { type CheckedColumns, encodeRows, VERIFIED_ROW } from "./verified.ts";

/** Byte offsets of the header. */
const HEADER = { SIZE: 64, magic: 0, digester: 8, count: 12, inode: 16, born: 24, nonce: 32, NONCE_SIZE: 16 } as const;
const MAGIC = new TextEncoder().encode("NGDCOPY1");

/** Identity of a file that does not contribute to the name. */
const NO_FILE: FileIdentity = { inode: 0n, bornMs: 0n };

/** The blob whose data is copied. */
export interface CopiesSubject {
  readonly digester: Digester;
  /** The file that holds the data. */
  readonly data: FileIdentity;
  /** Chunks as described by the images that have the blob open, which agree on them. */
  readonly columns: CheckedColumns;
}

/** The record of one blob. */
export class CopiesRecord {
  /** The last call of {@link name}. Never rejects. */
  #naming: Promise<unknown> = Promise.resolve();

  constructor(private readonly folder: CacheFolder, private readonly path: string) {}

  /**
   * Returns the name for copies of the open blob, 64 hexadecimal digits: the name of the record if nothing in it
   * contradicts the blob, else a new one. The record is complete and on disk when this resolves.
   *
   * In a cache that keeps nothing, the name is derived from the digests alone.
   *
   * @param subject describes the blob when the earlier calls are done
   * @throws {NydusGdError} "io"
   */
  name(subject: () => CopiesSubject): Promise<string> {
    const naming = this.#naming.then(() => this.#name(subject()));
    this.#naming = naming.catch(() => undefined); // reported to the caller
    return naming.catch((error) => {
      throw new NydusGdError("io", `Cannot record copies in "${this.path}": ${messageOf(error)}`, { cause: error });
    });
  }

  /** Resolves when no record is being written. */
  async settled(): Promise<void> {
    await this.#naming;
  }

  async #name(subject: CopiesSubject): Promise<string> {
    const { folder, path } = this;
    if (!folder.keeps) return nameOf(encode({ ...subject, data: NO_FILE }));
    const fresh = encode(subject);
    const before = await ignore(Deno.errors.NotFound, Deno.readFile(path));
    const record = before && merge(before, fresh, subject.columns) || withNonce(fresh, randomBytes(HEADER.NONCE_SIZE));
    if (before !== undefined && equalBytes(before, record)) await folder.sync(); // its writer may have been killed
    else await folder.replace(path, record);
    return nameOf(record.subarray(0, HEADER.SIZE));
  }
}

/** Encodes a subject, with a nonce of zeros. */
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

/** Merges `before` and `fresh` under the name of `before`; undefined if they contradict each other. */
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

/** Whether no other chunk occupies the place of a chunk whose digest the blob does not know. */
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
