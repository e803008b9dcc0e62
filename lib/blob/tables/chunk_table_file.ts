/**
 * A chunk table of which only what readers need stays in memory; the rest is in a file, mapped, whose pages are let go
 * while nothing is fetched.
 *
 * ```
 *  shared memory │ uncompressedOffset │ uncompressedSize │                      12 bytes a chunk: ChunkPlaces
 *  mapped file   │ compressedOffset │ compressedSize │ … │ digests │ flags │    57 bytes a chunk
 * ```
 * The file has no name and goes with the table. It is written by write(2) alone: on a full disk that is an error, where a
 * store to the mapping would end the program.
 *
 * Workers look at the same mapping, by its address: whoever disposes the table has told them to forget it before.
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
import { type ChunkColumns, type ChunkPlaces, DIGEST_SIZE } from "../../rafs/chunk_table.ts";

const log = logger("blob");

/** What of a table is in shared memory. */
type SharedColumns = Pick<ChunkColumns, keyof ChunkPlaces | "gzipStarts">;
/** What is in the file. */
type StoredColumns = Omit<ChunkColumns, keyof SharedColumns>;

/** A table as it is posted to a Worker, for {@link columnsOf}. */
export interface PostedTable extends SharedColumns {
  readonly batchCount: number;
  readonly address: bigint;
}

/** See the module. */
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
   * The table with a file in `dir`; undefined where that has no room, or cannot have files without names: then the table
   * stays in memory.
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

  /** For {@link columnsOf} in a Worker. */
  get posted(): PostedTable {
    return { ...sharedOf(this.columns), batchCount: this.#batchCount, address: this.mapping.address };
  }

  /**
   * Has `work` change the table.
   *
   * @throws {SyscallError} where that cannot be written
   */
  change(work: (columns: ChunkColumns) => void): void {
    const bytes = this.mapping.bytes.slice();
    work({ ...this.columns, ...storedColumns(bytes, this.columns.count, this.#batchCount) });
    pwriteAll(this.file, bytes, 0);
  }

  /** Takes the pages of every table out of this process; the kernel has them in its cache, or in the file. */
  static dropPages(): void {
    for (const { mapping } of ChunkTableFile.#all) mapping.advise(MADV.DONTNEED);
  }

  [Symbol.dispose](): void {
    ChunkTableFile.#all.delete(this);
    this.mapping[Symbol.dispose]();
    this.file[Symbol.dispose]();
  }
}

/** The table that another thread has posted, as long as it has it. */
export function columnsOf(posted: PostedTable | ChunkColumns): ChunkColumns {
  if (!("address" in posted)) return posted;
  const { count, batchCount, address } = posted;
  const bytes = viewAt(address, Math.max(1, storedSize(count, batchCount)));
  return { ...sharedOf(posted), ...storedColumns(bytes, count, batchCount) };
}

function sharedOf(columns: SharedColumns): SharedColumns {
  return { ...placesOf(columns), ...(columns.gzipStarts === undefined ? {} : { gzipStarts: columns.gzipStarts }) };
}

/** What may be posted to whoever reads. */
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

/** The columns, one behind the other; the widest elements first, so that each is aligned. */
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
