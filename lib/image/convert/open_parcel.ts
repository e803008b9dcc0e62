/**
 * A parcel while chunks are added to it: columns, no object for each.
 *
 * @module
 */
import { GrowingBytes, GrowingColumn } from "../../rafs/growing.ts";
import type { FileChunk, Parcel } from "./parcel.ts";

/** See the module. */
export class OpenParcel {
  /** Whose places the chunks are, by their positions. */
  readonly places = GrowingColumn.u32();
  readonly #sizes = GrowingColumn.u32();
  /** 1: it may share a batch. */
  readonly #areWhole = GrowingColumn.u32();
  readonly #paths = new GrowingBytes();
  readonly #pathEnds = GrowingColumn.u32();
  readonly #offsets = GrowingColumn.doubles();
  readonly #areLast = GrowingColumn.u32();
  #filled = 0;

  /** @param plain room for all chunks */
  constructor(private readonly plain: Uint8Array<ArrayBuffer>) {}

  /** Bytes of the chunks so far. */
  get filled(): number {
    return this.#filled;
  }

  /** Chunks so far. */
  get count(): number {
    return this.places.length;
  }

  /** Adds a chunk of `size` bytes: what is in it, or the file that has it. */
  add(content: Uint8Array | FileChunk, place: number, size: number, isWholeFile: boolean): void {
    const isHere = content instanceof Uint8Array;
    if (isHere) this.plain.set(content, this.#filled);
    else this.#paths.append(content.path);
    this.#pathEnds.push(this.#paths.length);
    this.#offsets.push(isHere ? 0 : content.offset);
    this.#areLast.push(isHere || !content.isLast ? 0 : 1);
    this.places.push(place);
    this.#sizes.push(size);
    this.#areWhole.push(isWholeFile ? 1 : 0);
    this.#filled += size;
  }

  /** Bytes of a chunk. */
  sizeOf(position: number): number {
    return this.#sizes.at(position);
  }

  /** Whether it may share a batch. */
  isWholeFile(position: number): boolean {
    return this.#areWhole.at(position) === 1;
  }

  /** What is sent: views of this, the room itself. */
  get parcel(): Parcel {
    const files = this.#paths.length === 0 ? undefined : {
      paths: this.#paths.bytes,
      pathEnds: this.#pathEnds.values,
      offsets: this.#offsets.values,
      areLast: this.#areLast.values,
    };
    return { bytes: this.plain, sizes: this.#sizes.values, files };
  }
}
