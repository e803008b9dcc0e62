/**
 * Mountable images of tests/fixtures/rafs, with a chunk store whose fetches a test can delay or fail.
 *
 * The store implements ChunkStore in the simplest way (whole blobs in memory, one file of plain data) and shares no
 * code with lib/blob.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { Mapping } from "../../ffi/sys_mman.ts";
import { pwriteAll } from "../../ffi/unistd.ts";
import type { ChunkStore, MountableImage, OpenBlob } from "../../lib/mount/image_mount.ts";
import type { BlobDescriptor, Bootstrap } from "../../lib/rafs/bootstrap.ts";
import { effectiveBlobId } from "../../lib/rafs/flags.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { MemoryBlob, type RafsFixture, readFixtureBootstrap } from "./rafs_fixtures.ts";

/** Hooks into the fetches of an image. */
export interface FetchControl {
  /** Awaited before each chunk is fetched; an exception fails the fetch. */
  beforeFetch?: (blob: string, chunk: number) => Promise<void> | void;
  /** Awaited before a blob is opened. */
  beforeOpen?: (blob: string) => Promise<void> | void;
}

/** One blob; decodes chunks on demand. */
export class FixtureStore implements ChunkStore, Disposable {
  readonly fetched: number[] = [];
  #data: Fd | undefined;
  #open: Promise<OpenBlob & { memory: MemoryBlob }> | undefined;
  readonly #flights = new Map<number, Promise<void>>();
  readonly #listeners: (() => void)[] = [];
  #blob: OpenBlob | undefined;

  constructor(
    readonly id: string,
    private readonly bootstrap: Bootstrap,
    private readonly descriptor: BlobDescriptor,
    private readonly blobPath: string,
    private readonly dataPath: string,
    private readonly control: FetchControl,
  ) {}

  async open(): Promise<OpenBlob> {
    return await this.#opened();
  }

  async #opened(): Promise<OpenBlob & { memory: MemoryBlob }> {
    await this.control.beforeOpen?.(this.id);
    return await (this.#open ??= this.#openBlob());
  }

  async #openBlob(): Promise<OpenBlob & { memory: MemoryBlob }> {
    const { metaBlobId } = this.descriptor;
    const bytes = await Deno.readFile(this.blobPath);
    const metaBytes = metaBlobId && await Deno.readFile(join(dirname(this.blobPath), metaBlobId));
    const memory = MemoryBlob.open(this.bootstrap, this.descriptor, bytes, metaBytes || bytes);
    const chunks = memory.columns;
    this.#data = open(this.dataPath, O.RDWR | O.CREAT);
    const ready = new Uint8Array(new SharedArrayBuffer(Math.ceil(chunks.count / 8)));
    const blob = { dataFd: this.#data.raw, chunks, ready, path: this.dataPath, memory };
    this.#blob = blob;
    return blob;
  }

  seal(chunkIndexes: Iterable<number>): boolean {
    const blob = this.#blob;
    return blob !== undefined && [...chunkIndexes].every((index) => isReady(blob, index));
  }

  copiesName(): Promise<string> {
    return Promise.resolve(this.id);
  }

  onStored(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async ensure(offset: number, length: number): Promise<void> {
    const blob = await this.#opened();
    const wanted: Promise<void>[] = [];
    for (let i = 0; i < blob.chunks.count; i++) {
      const start = blob.chunks.uncompressedOffset[i] as number;
      const end = start + (blob.chunks.uncompressedSize[i] as number);
      if (end <= offset || start >= offset + length || isReady(blob, i)) continue;
      const flight = this.#flights.get(i) ?? this.#fetch(blob, i).finally(() => this.#flights.delete(i));
      this.#flights.set(i, flight);
      wanted.push(flight);
    }
    await Promise.all(wanted);
  }

  async #fetch(blob: OpenBlob & { memory: MemoryBlob }, index: number): Promise<void> {
    await this.control.beforeFetch?.(this.id, index);
    const data = await blob.memory.chunk(index);
    pwriteAll(blob.dataFd, data, blob.chunks.uncompressedOffset[index] as number);
    this.fetched.push(index);
    Atomics.or(blob.ready, index >> 3, 0x80 >> (index & 7));
    for (const listener of this.#listeners) listener();
  }

  [Symbol.dispose](): void {
    this.#data?.[Symbol.dispose]();
  }
}

function isReady(blob: OpenBlob, index: number): boolean {
  return ((blob.ready[index >> 3] as number) & (0x80 >> (index & 7))) !== 0;
}

/** A mountable fixture. Dispose it after the mount. */
export class MountableFixture implements Disposable {
  readonly control: FetchControl = {};
  readonly image: MountableImage & { readonly tree: Bootstrap };
  readonly stores: readonly FixtureStore[];
  readonly #mapping: Mapping;

  private constructor(
    readonly fixture: RafsFixture,
    mapping: Mapping,
    name: string,
    workDirectory: string,
  ) {
    this.#mapping = mapping;
    const tree = openBootstrap(mapping.bytes);
    this.stores = tree.blobs.map((blob) => {
      const id = effectiveBlobId(blob, fixture.container);
      const blobPath = join(fixture.directory, "blobs", id);
      return new FixtureStore(
        id,
        tree,
        blob,
        blobPath,
        join(workDirectory, `${name}-${blob.index}.data`),
        this.control,
      );
    });
    this.image = { name, bootstrap: { address: mapping.address, length: mapping.length }, tree, blobs: this.stores };
  }

  /** @param workDirectory directory for bootstrap and plain data */
  static async open(fixture: RafsFixture, workDirectory: string, name = fixture.name): Promise<MountableFixture> {
    const bytes = await readFixtureBootstrap(fixture);
    const path = join(workDirectory, `${name}.boot`);
    await Deno.writeFile(path, bytes);
    using fd = open(path, O.RDONLY);
    return new MountableFixture(fixture, Mapping.ofFile(fd, bytes.length), name, workDirectory);
  }

  [Symbol.dispose](): void {
    for (const store of this.stores) store[Symbol.dispose]();
    this.#mapping[Symbol.dispose]();
  }
}
