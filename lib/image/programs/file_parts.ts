/**
 * Fetches and reads parts of one file of an image as read-ahead.
 *
 * @module
 */
import { preadExact } from "../../../ffi/unistd.ts";
import { type ByteString, toByteString } from "../../base/bytes.ts";
import type { Blob } from "../../blob/blob.ts";
import type { BlobRange } from "../prefetch/read_coverage.ts";
import type { FileRange } from "./elf.ts";

/** Maximum bytes of headers or of a dynamic section; real ones have less than a thousand. */
const MAX_READ_BYTES = 64 * 1024;

/** Maximum bytes of a name, including its NUL. */
const MAX_NAME_BYTES = 4096;
const NAME_PIECE_BYTES = 256;

/** Maps a range of a file to ranges of blobs. */
export type Placing = (range: FileRange) => BlobRange[];

/** Where the parts of files come from. */
export interface PartSource {
  readonly blobs: readonly Pick<Blob, "open" | "ensure" | "confineNeighbours">[];
  /** Called for each range that is fetched. */
  readonly onFetch?: (range: BlobRange) => void;
  /** Aborts every fetch. */
  readonly signal: AbortSignal;
}

/** The parts of a file whose data are where `place` says. */
export class FileParts {
  constructor(private readonly place: Placing, private readonly source: PartSource) {}

  /** Where a range of the file is. */
  placesOf(range: FileRange): BlobRange[] {
    return this.place(range);
  }

  /** Has reads of the file, of that many bytes, fetch no neighbours outside of it. */
  async confineNeighbours(fileSize: number): Promise<void> {
    const { blobs, signal } = this.source;
    const spans = spansOf(this.place({ offset: 0, size: fileSize }));
    await Promise.all(
      spans.map(({ blobIndex, offset, length }) => blobs[blobIndex]?.confineNeighbours(offset, length, signal)),
    );
  }

  /** Fetches a range. */
  async fetch(range: FileRange): Promise<void> {
    await this.#fetch(this.place(range));
  }

  /** Fetches and reads bytes; fewer at the end of the file. */
  async read(range: FileRange): Promise<Uint8Array> {
    const places = this.place(limited(range));
    await this.#fetch(places);
    return await this.#bytesAt(places);
  }

  /** Reads bytes that a reader waits for, once they are fetched. They are not reported, as it is the reader's fetch. */
  async readAwaited(range: FileRange): Promise<Uint8Array> {
    const places = this.place(limited(range));
    await this.#ensure(places);
    return await this.#bytesAt(places);
  }

  /** Reads NUL-terminated names; those without a NUL are left out. */
  async namesAt(offsets: readonly number[]): Promise<ByteString[]> {
    const names = await Promise.all(offsets.map((offset) => this.nameAt(offset)));
    return names.filter((name) => name !== undefined);
  }

  /** Reads a NUL-terminated name; undefined if there is no NUL. */
  async nameAt(offset: number): Promise<ByteString | undefined> {
    let name = "";
    while (name.length < MAX_NAME_BYTES) {
      const piece = await this.read({ offset: offset + name.length, size: NAME_PIECE_BYTES });
      const end = piece.indexOf(0);
      name += toByteString(end < 0 ? piece : piece.subarray(0, end));
      if (end >= 0) return name;
      if (piece.length < NAME_PIECE_BYTES) return undefined;
    }
    return undefined;
  }

  async #fetch(places: readonly BlobRange[]): Promise<void> {
    for (const place of places) this.source.onFetch?.(place);
    await this.#ensure(places);
  }

  async #ensure(places: readonly BlobRange[]): Promise<void> {
    const { blobs, signal } = this.source;
    await Promise.all(
      places.map(({ blobIndex, offset, length }) => blobs[blobIndex]?.ensure(offset, length, "read-ahead", signal)),
    );
  }

  async #bytesAt(places: readonly BlobRange[]): Promise<Uint8Array> {
    const bytes = new Uint8Array(places.reduce((sum, { length }) => sum + length, 0));
    let filled = 0;
    for (const { blobIndex, offset, length } of places) {
      const opened = await this.source.blobs[blobIndex]?.open(this.source.signal);
      if (opened === undefined) break;
      preadExact(opened.dataFd, bytes.subarray(filled, filled += length), offset);
    }
    return bytes.subarray(0, filled);
  }
}

function limited({ offset, size }: FileRange): FileRange {
  return { offset, size: Math.min(size, MAX_READ_BYTES) };
}

/** The span of a file in each of its blobs. */
function spansOf(places: readonly BlobRange[]): BlobRange[] {
  const spans = new Map<number, BlobRange>();
  for (const { blobIndex, offset, length } of places) {
    const { offset: start, length: size } = spans.get(blobIndex) ?? { offset, length };
    const from = Math.min(start, offset);
    spans.set(blobIndex, { blobIndex, offset: from, length: Math.max(start + size, offset + length) - from });
  }
  return [...spans.values()];
}
