/**
 * Mountable images of tests/fixtures/rafs, with a chunk store whose fetches a test can delay or fail.
 *
 * The store is the simplest one (simple_store.ts), with whole blobs in memory.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import type { MountableImage, OpenBlob } from "../../../lib/mount/image_mount.ts";
import type { BlobDescriptor, Bootstrap } from "../../../lib/rafs/bootstrap.ts";
import { effectiveBlobId } from "../../../lib/rafs/format/flags.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { MemoryBlob, type RafsFixture, readFixtureBootstrap } from "../rafs/rafs_fixtures.ts";
import { lossless, missingChunks, SimpleStore } from "./simple_store.ts";

/** Hooks into the fetches of an image. */
export interface FetchControl {
  /** Awaited before each chunk is fetched; an exception fails the fetch. */
  beforeFetch?: (blob: string, chunk: number) => Promise<void> | void;
  /** Awaited before a blob is opened. */
  beforeOpen?: (blob: string) => Promise<void> | void;
}

/** One blob; decodes chunks on demand. */
class FixtureStore extends SimpleStore implements Disposable {
  #data: Fd | undefined;
  #open: Promise<OpenBlob & { memory: MemoryBlob }> | undefined;
  readonly #flights = new Map<number, Promise<void>>();
  #blob: OpenBlob | undefined;

  /** @param paths files of the blob, and of its plain data */
  constructor(
    readonly id: string,
    private readonly described: { readonly bootstrap: Bootstrap; readonly descriptor: BlobDescriptor },
    private readonly paths: { readonly blob: string; readonly data: string },
    private readonly control: FetchControl,
  ) {
    super();
  }

  protected override get opened(): OpenBlob | undefined {
    return this.#blob;
  }

  async open(): Promise<OpenBlob> {
    return await this.#opened();
  }

  async #opened(): Promise<OpenBlob & { memory: MemoryBlob }> {
    await this.control.beforeOpen?.(this.id);
    return await (this.#open ??= this.#openBlob());
  }

  async #openBlob(): Promise<OpenBlob & { memory: MemoryBlob }> {
    const { described: { bootstrap, descriptor }, paths } = this;
    const { metaBlobId } = descriptor;
    const bytes = await Deno.readFile(paths.blob);
    const metaBytes = metaBlobId && await Deno.readFile(join(dirname(paths.blob), metaBlobId));
    const memory = MemoryBlob.open(bootstrap, descriptor, bytes, metaBytes || bytes);
    const chunks = memory.columns;
    this.#data = open(paths.data, O.RDWR | O.CREAT);
    const ready = new Uint8Array(new SharedArrayBuffer(Math.ceil(chunks.count / 8)));
    const blob = { dataFd: this.#data.raw, chunks, ready, ...lossless(chunks.count), path: paths.data, memory };
    this.#blob = blob;
    return blob;
  }

  async ensure(offset: number, length: number): Promise<void> {
    const blob = await this.#opened();
    const wanted: Promise<void>[] = [];
    for (const i of missingChunks(blob, offset, length)) {
      const flight = this.#flights.get(i) ?? this.#fetch(blob, i).finally(() => this.#flights.delete(i));
      this.#flights.set(i, flight);
      wanted.push(flight);
    }
    await Promise.all(wanted);
  }

  async #fetch(blob: OpenBlob & { memory: MemoryBlob }, index: number): Promise<void> {
    await this.control.beforeFetch?.(this.id, index);
    this.put(blob, index, await blob.memory.chunk(index));
  }

  [Symbol.dispose](): void {
    this.#data?.[Symbol.dispose]();
  }
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
    this.stores = tree.blobs.map((descriptor) => {
      const id = effectiveBlobId(descriptor, fixture.container);
      const blob = join(fixture.directory, "blobs", id);
      const data = join(workDirectory, `${name}-${descriptor.index}.data`);
      return new FixtureStore(id, { bootstrap: tree, descriptor }, { blob, data }, this.control);
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
