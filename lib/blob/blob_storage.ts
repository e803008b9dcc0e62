/**
 * What an open blob knows and keeps: its chunk table, its files, and which chunks are in them.
 *
 * ```
 * chunk table ─► data file, chunk map, digests ─► readiness, and a target for decoding
 * ```
 *
 * @module
 */
import { type BlobDescriptor, RafsError } from "../rafs/bootstrap.ts";
import { chunkColumnsFromRecords } from "../rafs/blob/blob_meta.ts";
import { cacheSizes } from "../rafs/blob/cache_layout.ts";
import type { ChunkColumns } from "../rafs/blob/chunk_table.ts";
import type { BlobContext } from "./blob_context.ts";
import type { BlobSpec } from "./blob_spec.ts";
import { BlobFiles } from "./cache/blob_files.ts";
import { Readiness } from "./cache/readiness.ts";
import type { DecodeTarget } from "./decode/chunk_decoder.ts";
import { ChunkTableFile } from "./tables/chunk_table_file.ts";
import { addDigests, addRows } from "./tables/merge_tables.ts";

let nextKey = 1;

/** The table and the files of an open blob. Disposing closes them. */
export class BlobStorage implements Disposable {
  private constructor(
    private readonly id: string,
    readonly files: BlobFiles,
    /** Undefined: the table is kept in memory. */
    private readonly table: ChunkTableFile | undefined,
    readonly readiness: Readiness,
    readonly target: DecodeTarget,
  ) {}

  /**
   * Opens the files of the blob for a chunk table.
   *
   * @param description of the blob: `BlobNames.description`
   * @throws {DescriptionConflict} when the files hold chunks of another table
   * @throws {NydusGdError} "io"
   */
  static async open(
    { id, paths, parts: { folder, flush } }: BlobContext,
    descriptor: BlobDescriptor,
    description: string,
    loaded: ChunkColumns,
  ): Promise<BlobStorage> {
    using cleanup = new DisposableStack();
    const { digester, compressor, cipher } = descriptor;
    const dataSize = cacheSizes(descriptor, loaded).data;
    const subject = { id, description, digester, columns: loaded, dataSize };
    const files = cleanup.use(await BlobFiles.open(folder, paths, subject));
    files.touch();
    const table = cleanup.use(ChunkTableFile.store(loaded, folder.path));
    const columns = table?.columns ?? loaded;
    const readiness = new Readiness(id, files, columns, flush);
    const { ready, synced } = readiness;
    const dataFd = files.data.fd.raw;
    const posted = table?.posted;
    const coding = { columns, compressor, digester, cipher };
    const target = { key: nextKey++, posted, ready, synced, dataFd, dataSize, ...coding };
    cleanup.move();
    return new BlobStorage(id, files, table, readiness, target);
  }

  /**
   * Adds what another image knows of the blob: digests of its chunks, or chunks that no other image uses. Returns which.
   *
   * @throws {NydusGdError} "invalid-image" when it contradicts what is known; then nothing is added
   */
  add({ descriptor, records }: BlobSpec): "digests" | "chunks" {
    if (descriptor.meta !== undefined) {
      this.#change((own) => addDigests(own, descriptor, records()));
      return "digests";
    }
    const more = chunkColumnsFromRecords(descriptor, records());
    const { verified, data, dataSize } = this.files;
    if (verified.matching(more, dataSize) === undefined) {
      throw new RafsError("Cannot add chunks: other chunks occupy their places");
    }
    this.#change((own) => addRows(this.id, own, more, data.sizeBytes));
    return "chunks";
  }

  #change(work: (columns: ChunkColumns) => void): void {
    if (this.table === undefined) work(this.target.columns);
    else this.table.change(work);
  }

  /**
   * Records what is ready, and that the blob was used until now.
   *
   * @throws {NydusGdError} "io"
   */
  async finish(): Promise<void> {
    await this.readiness.flush();
    this.files.touch();
  }

  [Symbol.dispose](): void {
    this.files[Symbol.dispose]();
    this.table?.[Symbol.dispose]();
  }
}
