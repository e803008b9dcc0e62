/**
 * A parcel to which chunks are still being added; columns instead of one object per chunk.
 *
 * @module
 */
import { GrowingBytes, GrowingColumn } from "../../../rafs/memory/growing.ts";
import type { FileChunk, Parcel } from "./parcel.ts";

/** Collects chunks until their parcel is sent. */
export class OpenParcel {
  /** Place of each chunk, by position. */
  readonly places = GrowingColumn.u32();
  readonly #sizes = GrowingColumn.u32();
  /** 1 if the chunk may be batched with others. */
  readonly #areWhole = GrowingColumn.u32();
  readonly #paths = new GrowingBytes();
  readonly #pathEnds = GrowingColumn.u32();
  readonly #offsets = GrowingColumn.doubles();
  readonly #fileSizes = GrowingColumn.doubles();
  readonly #ctimeSecs = GrowingColumn.doubles();
  readonly #ctimeNsecs = GrowingColumn.u32();
  #filled = 0;

  /** @param plain has room for all chunks */
  constructor(private readonly plain: Uint8Array<ArrayBuffer>) {}

  /** Bytes of the chunks so far. */
  get filled(): number {
    return this.#filled;
  }

  /** Number of chunks so far. */
  get count(): number {
    return this.places.length;
  }

  /** Adds a chunk of `size` bytes: its content, or the file that contains it. */
  add(content: Uint8Array | FileChunk, place: number, size: number, isWholeFile: boolean): void {
    const isHere = content instanceof Uint8Array;
    if (isHere) this.plain.set(content, this.#filled);
    else this.#paths.append(content.path);
    this.#pathEnds.push(this.#paths.length);
    this.#offsets.push(isHere ? 0 : content.offset);
    this.#fileSizes.push(isHere ? 0 : content.listed.size);
    this.#ctimeSecs.push(isHere ? 0 : Number(content.listed.ctimeSec));
    this.#ctimeNsecs.push(isHere ? 0 : content.listed.ctimeNsec);
    this.places.push(place);
    this.#sizes.push(size);
    this.#areWhole.push(isWholeFile ? 1 : 0);
    this.#filled += size;
  }

  /** Bytes of a chunk. */
  sizeOf(position: number): number {
    return this.#sizes.at(position);
  }

  /** Whether it may be batched with others. */
  isWholeFile(position: number): boolean {
    return this.#areWhole.at(position) === 1;
  }

  /** The parcel to send: views of this object's columns, and the plain bytes themselves. */
  get parcel(): Parcel {
    const files = this.#paths.length === 0 ? undefined : {
      paths: this.#paths.bytes,
      pathEnds: this.#pathEnds.values,
      offsets: this.#offsets.values,
      fileSizes: this.#fileSizes.values,
      ctimeSecs: this.#ctimeSecs.values,
      ctimeNsecs: this.#ctimeNsecs.values,
    };
    return { bytes: this.plain, sizes: this.#sizes.values, files };
  }
}
