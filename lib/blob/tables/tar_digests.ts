/**
 * Computes the digests for the chunks of a plain tar (TARFS), which the image does not contain.
 *
 * The name of such a blob is the sha256 of the tar. Before any byte is served, the whole tar is read and compared with
 * it, and the chunks are digested on the way. From then on chunks are fetched and verified like any others. The digests
 * are cached in place of the compression info, which these blobs do not have.
 *
 * ```
 * <id>.blob.meta   │ sha256 of the chunks' places │ digest × count │
 * ```
 *
 * @module
 */
import { createHash } from "node:crypto";
import { concatenate, equalBytes } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { type ChunkColumns, DIGEST_SIZE } from "../../rafs/blob/chunk_table.ts";
import { readMetaFile, type TableCache, type TableSource } from "./table_source.ts";
import { digest, prepareDigests } from "../codec/codec.ts";
import { freshOr } from "./doubtful_table.ts";

/** Bytes per read. */
const PIECE_BYTES = 4 << 20;

/**
 * Fills in the digests.
 *
 * @throws {NydusGdError} "corrupt" for a tar that does not match its name, "unsupported" for a name that is not a
 * digest; errors of the source
 */
export async function addTarDigests(
  source: TableSource,
  columns: ChunkColumns,
  cache: TableCache | undefined,
): Promise<void> {
  if (!/^[0-9a-f]{64}$/.test(source.id)) {
    const state = "it is a tar without digests of its chunks, and its name is not the digest of the whole";
    throw new NydusGdError("unsupported", `Cannot read blob ${source.id}: ${state}`);
  }
  const places = placesDigest(columns);
  const keptIn = (path: string) => {
    const kept = readMetaFile(path, DIGEST_SIZE * (1 + columns.count));
    return kept && equalBytes(kept.subarray(0, DIGEST_SIZE), places) ? kept.subarray(DIGEST_SIZE) : undefined;
  };
  const take = async (from: TableSource) => {
    const digests = await digestsOf(from, columns);
    cache?.keep(concatenate([places, digests]));
    return digests;
  };
  const known = cache && keptIn(cache.path);
  const doubtful = known ?? (cache && keptIn(cache.doubtfulPath));
  columns.digests.set(known ?? (doubtful ? await freshOr(source, take, () => doubtful) : await take(source)));
}

/** Two images may cut the same tar differently. */
function placesDigest({ uncompressedOffset, uncompressedSize }: ChunkColumns): Uint8Array {
  return createHash("sha256").update(uncompressedOffset).update(uncompressedSize).digest();
}

async function digestsOf(source: TableSource, columns: ChunkColumns): Promise<Uint8Array<ArrayBuffer>> {
  const { digester } = source.descriptor;
  await prepareDigests(digester);
  const chunks = new ChunkCutter(columns, (bytes) => digest(digester, bytes));
  const whole = createHash("sha256");
  const size = await source.size();
  for (let offset = 0; offset < size;) {
    const piece = await source.read(offset, Math.min(PIECE_BYTES, size - offset));
    whole.update(piece);
    chunks.push(piece, offset);
    offset += piece.length;
  }
  const actual = whole.digest("hex");
  if (actual === source.id) return chunks.digests;
  throw new NydusGdError("corrupt", `Cannot read blob ${source.id}: the sha256 of the tar is ${actual}`);
}

/** Digests the chunks of a byte stream. */
class ChunkCutter {
  readonly digests: Uint8Array<ArrayBuffer>;
  /** Rows in order of their offsets; then the index of the first incomplete one, and its bytes so far. */
  readonly #rows: Uint32Array;
  #next = 0;
  #open = new Uint8Array(0);
  #filled = 0;

  constructor(private readonly columns: ChunkColumns, private readonly digestOf: (bytes: Uint8Array) => Uint8Array) {
    const { count, uncompressedOffset } = columns;
    this.digests = new Uint8Array(count * DIGEST_SIZE);
    this.#rows = Uint32Array.from({ length: count }, (_, row) => row)
      .sort((a, b) => (uncompressedOffset[a] as number) - (uncompressedOffset[b] as number));
  }

  push(piece: Uint8Array, offset: number): void {
    const { uncompressedOffset, uncompressedSize } = this.columns;
    const end = offset + piece.length;
    while (this.#next < this.#rows.length) {
      const row = this.#rows[this.#next] as number;
      const size = uncompressedSize[row] as number;
      const from = (uncompressedOffset[row] as number) + this.#filled;
      if (from >= end) return;
      if (this.#filled === 0 && this.#open.length !== size) this.#open = new Uint8Array(size);
      const part = piece.subarray(from - offset, Math.min(piece.length, from - offset + size - this.#filled));
      this.#open.set(part, this.#filled);
      this.#filled += part.length;
      if (this.#filled < size) return;
      this.digests.set(this.digestOf(this.#open), row * DIGEST_SIZE);
      this.#filled = 0;
      this.#next++;
    }
  }
}
