/**
 * A chunk table that keeps only the columns for readers in memory. The rest is in a mapped file whose pages are dropped
 * while nothing is fetched.
 *
 * ```
 *  shared memory │ uncompressedOffset │ uncompressedSize │                      12 bytes a chunk: ChunkPlaces
 *  mapped file   │ compressedOffset │ compressedSize │ … │ digests │ flags │    57 bytes a chunk
 * ```
 * The file has no name and disappears with the table. It is written by write(2) only: on a full disk that returns an
 * error, where a store to the mapping would kill the program with a signal.
 *
 * Workers use the same mapping by its address, so they must be told to forget the table before it is disposed.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { MADV, Mapping, viewAt } from "../../../ffi/sys_mman.ts";
import { ftruncate, pwriteAll } from "../../../ffi/unistd.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { type ChunkColumns, type ChunkPlaces, DIGEST_SIZE } from "../../rafs/blob/chunk_table.ts";

const log = logger("blob");

/** The columns in shared memory. */
type SharedColumns = Pick<ChunkColumns, keyof ChunkPlaces | "gzipStarts">;
/** The columns in the file. */
type StoredColumns = Omit<ChunkColumns, keyof SharedColumns>;

/** A table as posted to a Worker, for {@link columnsOf}. */
export interface PostedTable extends SharedColumns {
  readonly batchCount: number;
  readonly address: bigint;
}

/** A chunk table whose fetch columns are in a mapped file. Disposing unmaps and closes it. */
export class ChunkTableFile implements Disposable {
  static readonly #all = new Set<ChunkTableFile>();
  readonly columns: ChunkColumns;
  readonly #batchCount: number;

  private constructor(
    private readonly file: Fd,
    private readonly mapping: Mapping,
    shared: SharedColumns,
    batches: number,
  ) {
    this.#batchCount = batches;
    this.columns = { ...sharedOf(shared), ...storedColumns(mapping.bytes, shared.count, batches) };
    ChunkTableFile.#all.add(this);
  }

  /**
   * Moves the table to a file in `dir`. Undefined if `dir` is full or does not support O_TMPFILE; the table then stays
   * in memory.
   */
  static store(columns: ChunkColumns, dir: string): ChunkTableFile | undefined {
    using cleanup = new DisposableStack();
    try {
      const batches = columns.batchUncompressedSize.length;
      const size = Math.max(1, storedSize(columns.count, batches));
      const file = cleanup.use(open(dir, O.TMPFILE | O.RDWR, 0o600));
      ftruncate(file, size);
      write(file, columns);
      const mapping = cleanup.use(Mapping.ofFile(file, size, { shared: true }));
      cleanup.move();
      return new ChunkTableFile(file, mapping, columns, batches);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      log.debug("chunk table stays in memory", { dir, reason: messageOf(error) });
      return undefined;
    }
  }

  /** The table as posted to a Worker, for {@link columnsOf}. */
  get posted(): PostedTable {
    return { ...sharedOf(this.columns), batchCount: this.#batchCount, address: this.mapping.address };
  }

  /**
   * Applies `work` to the table.
   *
   * @throws {SyscallError} when the result cannot be written
   */
  change(work: (columns: ChunkColumns) => void): void {
    const bytes = this.mapping.bytes.slice();
    work({ ...this.columns, ...storedColumns(bytes, this.columns.count, this.#batchCount) });
    pwriteAll(this.file, bytes, 0);
  }

  /** Drops the pages of all tables from this process; they stay in the page cache or in the file. */
  static dropPages(): void {
    for (const { mapping } of ChunkTableFile.#all) mapping.advise(MADV.DONTNEED);
  }

  [Symbol.dispose](): void {
    ChunkTableFile.#all.delete(this);
    this.mapping[Symbol.dispose]();
    this.file[Symbol.dispose]();
  }
}

/** Returns the columns of a table posted by another thread; valid as long as that thread keeps it. */
export function columnsOf(posted: PostedTable | ChunkColumns): ChunkColumns {
  if (!("address" in posted)) return posted;
  const { count, batchCount, address } = posted;
  const bytes = viewAt(address, Math.max(1, storedSize(count, batchCount)));
  return { ...sharedOf(posted), ...storedColumns(bytes, count, batchCount) };
}

function sharedOf(columns: SharedColumns): SharedColumns {
  return { ...placesOf(columns), ...(columns.gzipStarts === undefined ? {} : { gzipStarts: columns.gzipStarts }) };
}

/** The columns that readers need; can be posted. */
export function placesOf({ count, uncompressedOffset, uncompressedSize }: ChunkPlaces): ChunkPlaces {
  return { count, uncompressedOffset, uncompressedSize };
}

function write(file: Fd, { count, batchUncompressedSize, ...columns }: ChunkColumns): void {
  const bytes = new Uint8Array(storedSize(count, batchUncompressedSize.length));
  const stored = storedColumns(bytes, count, batchUncompressedSize.length);
  stored.compressedOffset.set(columns.compressedOffset);
  stored.compressedSize.set(columns.compressedSize);
  stored.batch.set(columns.batch);
  stored.batchOffset.set(columns.batchOffset);
  stored.crc32.set(columns.crc32);
  stored.batchUncompressedSize.set(batchUncompressedSize);
  stored.digests.set(columns.digests);
  stored.flags.set(columns.flags);
  pwriteAll(file, bytes, 0);
}

function storedSize(count: number, batchCount: number): number {
  return count * (8 + 4 * 4 + DIGEST_SIZE + 1) + batchCount * 4;
}

/** Lays out the columns one after the other, the widest elements first, so that each column is aligned. */
function storedColumns(bytes: Uint8Array<ArrayBuffer>, count: number, batchCount: number): StoredColumns {
  const { buffer } = bytes;
  let end = 0;
  const next = (size: number) => (end += size) - size;
  return {
    compressedOffset: new Float64Array(buffer, next(count * 8), count),
    compressedSize: new Uint32Array(buffer, next(count * 4), count),
    batch: new Uint32Array(buffer, next(count * 4), count),
    batchOffset: new Uint32Array(buffer, next(count * 4), count),
    crc32: new Uint32Array(buffer, next(count * 4), count),
    batchUncompressedSize: new Uint32Array(buffer, next(batchCount * 4), batchCount),
    digests: new Uint8Array(buffer, next(count * DIGEST_SIZE), count * DIGEST_SIZE),
    flags: new Uint8Array(buffer, next(count), count),
  };
}
