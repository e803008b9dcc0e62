/**
 * Damaged images: copies of fixtures with one kind of damage each, and the acceptable outcomes.
 *
 * A copy is mounted for real (tests/kernel/damage_test.ts). What a reader may then see depends on the {@link Fallout}.
 * Damage that turns a bootstrap into a valid bootstrap of another image (a name that leads to another file, two chunks
 * of equal length whose records are swapped as a whole) is not included: the image reads as described.
 *
 * @module
 */
import { join } from "node:path";
import type { BlobDescriptor } from "../../../lib/rafs/bootstrap.ts";
import type { ChunkColumns } from "../../../lib/rafs/blob/chunk_table.ts";
import { effectiveBlobId, requiredBlobIds } from "../../../lib/rafs/format/flags.ts";
import { walkTree } from "../../../lib/rafs/walk.ts";
import { listRafsFixtures, MemoryImage, percentEncode, type RafsFixture } from "../rafs/rafs_fixtures.ts";

/** A range of a blob's stored bytes that was changed. */
export interface Spoiled {
  readonly blob: string;
  readonly from: number;
  readonly to: number;
}

/**
 * The acceptable outcome of a kind of damage:
 *
 * - a list: the image mounts and shows its listing, but files with chunks in these ranges may return EIO;
 * - "any": it is refused, or anything fails, but whatever can be read is right;
 * - "refused": it cannot be opened.
 */
export type Fallout = readonly Spoiled[] | "any" | "refused";

/** One kind of damage to one image. */
export interface Damage {
  readonly name: string;
  readonly fixture: string;
  /** Applies the damage. */
  readonly apply: (copy: FixtureCopy) => Fallout;
}

/** Little-endian numbers in bytes, for modification. */
export class Patch {
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array<ArrayBuffer>) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8 = (at: number, value: number) => this.#view.setUint8(at, value);
  u16 = (at: number, value: number) => this.#view.setUint16(at, value, true);
  u32 = (at: number, value: number) => this.#view.setUint32(at, value, true);
  u64 = (at: number, value: number | bigint) => this.#view.setBigUint64(at, BigInt(value), true);
  getU8 = (at: number) => this.#view.getUint8(at);
  getU16 = (at: number) => this.#view.getUint16(at, true);
  getU32 = (at: number) => this.#view.getUint32(at, true);
  getU64 = (at: number) => Number(this.#view.getBigUint64(at, true));

  text(at: number, text: string): void {
    this.bytes.set(new TextEncoder().encode(text), at);
  }

  /** Flips one bit. */
  flip(at: number): void {
    this.u8(at, this.getU8(at) ^ 0x10);
  }

  /** Swaps two ranges. */
  swap(a: number, b: number, length: number): void {
    const first = this.bytes.slice(a, a + length);
    this.bytes.copyWithin(a, b, b + length);
    this.bytes.set(first, b);
  }
}

const fixtures = new Map(listRafsFixtures().map((fixture) => [fixture.name, fixture]));

/** A copy of an image in memory to be damaged; blobs by id. */
export class FixtureCopy {
  #bootstrap: Patch;
  /** Undefined: the blob is missing; "directory": there is a directory of its name. */
  readonly blobs: Map<string, Uint8Array<ArrayBuffer> | "directory">;

  private constructor(
    readonly fixture: RafsFixture,
    /** The undamaged image. */
    readonly original: MemoryImage,
    bootstrap: Uint8Array<ArrayBuffer>,
    blobs: [string, Uint8Array<ArrayBuffer>][],
  ) {
    this.#bootstrap = new Patch(bootstrap);
    this.blobs = new Map(blobs);
  }

  static async of(name: string): Promise<FixtureCopy> {
    const fixture = fixtures.get(name);
    if (fixture === undefined) throw new Error(`Cannot damage ${name}: there is no such image`);
    const original = await MemoryImage.open(fixture);
    const ids = original.bootstrap.blobs.flatMap((blob) =>
      requiredBlobIds({ ...blob, id: effectiveBlobId(blob, fixture.container) })
    );
    const blobs = await Promise.all(
      ids.map(async (id): Promise<[string, Uint8Array<ArrayBuffer>]> => [
        id,
        await Deno.readFile(join(fixture.directory, "blobs", id)),
      ]),
    );
    return new FixtureCopy(fixture, original, await Deno.readFile(fixture.bootstrap), blobs);
  }

  /** The bootstrap's bytes; meaningless for an image whose bootstrap is inside a blob. */
  get bootstrap(): Patch {
    return this.#bootstrap;
  }

  /** Replaces the bootstrap. */
  replaceBootstrap(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bootstrap = new Patch(bytes);
  }

  /** Descriptor of a blob in the undamaged bootstrap. */
  descriptor(index: number): BlobDescriptor {
    return this.original.bootstrap.blobs[index] as BlobDescriptor;
  }

  /** Chunk table of a blob in the undamaged image. */
  columns(index: number): ChunkColumns {
    return (this.original.blobs[index] as { columns: ChunkColumns }).columns;
  }

  id(index: number): string {
    return effectiveBlobId(this.descriptor(index), this.fixture.container);
  }

  /** Id of the blob that holds the compression info of blob `index`. */
  metaId(index: number): string {
    return this.descriptor(index).metaBlobId ?? this.id(index);
  }

  /** A blob's bytes. */
  blob(index: number): Uint8Array<ArrayBuffer> {
    const bytes = this.blobs.get(this.id(index));
    if (!(bytes instanceof Uint8Array)) throw new Error(`Cannot damage blob ${index}: it is gone`);
    return bytes;
  }

  setBlob(index: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.blobs.set(this.id(index), bytes);
  }

  /** Inode number of a path in the undamaged tree. */
  ino(path: string): number {
    const names = path.split("/").filter((name) => name !== "");
    const tree = this.original.bootstrap;
    return names.reduce((dir, name) => tree.lookup(dir, new TextEncoder().encode(name)), tree.rootIno);
  }

  /** Returns the files that have a chunk in one of the ranges. */
  filesIn(spoiled: readonly Spoiled[]): Set<string> {
    const files = new Set<string>();
    const tree = this.original.bootstrap;
    for (const { path, ino, attr } of walkTree(tree)) {
      if ((attr.mode & 0o170000) !== 0o100000) continue;
      for (const { blobIndex, chunkIndex } of tree.extents(ino, 0, attr.size)) {
        const { compressedOffset, compressedSize } = this.columns(blobIndex);
        const from = compressedOffset[chunkIndex] as number, to = from + (compressedSize[chunkIndex] as number);
        const id = this.id(blobIndex);
        if (spoiled.some((part) => part.blob === id && part.from < to && part.to > from)) {
          files.add(percentEncode(path));
        }
      }
    }
    return files;
  }

  /** Whether anything differs from the original. */
  async isDamaged(): Promise<boolean> {
    const fresh = await FixtureCopy.of(this.fixture.name);
    const differs = (a: Uint8Array | string | undefined, b: Uint8Array | string | undefined) =>
      !(a instanceof Uint8Array && b instanceof Uint8Array)
        ? a !== b
        : a.length !== b.length || a.some((x, i) => x !== b[i]);
    return differs(this.bootstrap.bytes, fresh.bootstrap.bytes) ||
      [...fresh.blobs].some(([id, bytes]) => differs(this.blobs.get(id), bytes));
  }

  /** Writes the image into a directory. Returns the file that a user would mount. */
  async write(folder: string): Promise<{ source: string; blobDir: string }> {
    const blobDir = join(folder, "blobs");
    await Deno.mkdir(blobDir, { recursive: true });
    for (const [id, bytes] of this.blobs) {
      if (bytes instanceof Uint8Array) await Deno.writeFile(join(blobDir, id), bytes);
      else await Deno.mkdir(join(blobDir, id));
    }
    const { container } = this.fixture;
    if (container !== undefined) return { source: join(blobDir, container), blobDir };
    const source = join(folder, "bootstrap");
    await Deno.writeFile(source, this.bootstrap.bytes);
    return { source, blobDir };
  }
}
