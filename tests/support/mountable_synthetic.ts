/**
 * A mountable synthetic image (synthetic_image.ts) whose fetches a test can delay or fail.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { Mapping } from "../../ffi/sys_mman.ts";
import { pwriteAll } from "../../ffi/unistd.ts";
import type { ChunkStore, MountableImage, OpenBlob } from "../../lib/mount/image_mount.ts";
import type { Priority } from "../../lib/base/limiter.ts";
import { chunkColumnsFromRecords } from "../../lib/rafs/chunk_records.ts";
import type { ChunkColumns } from "../../lib/rafs/chunk_table.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { makeSyntheticImage, type SyntheticTree } from "./synthetic_image.ts";

/** Byte at `offset` of the blob; all chunks differ. */
export function patternByte(offset: number): number {
  return (Math.imul(offset, 2654435761) >>> 24) & 0xff;
}

/** The image and its only blob, whose id depends on the image's name. */
export class MountableSynthetic implements ChunkStore, Disposable {
  readonly id: string;
  readonly image: MountableImage;
  readonly chunks: ChunkColumns;
  /** Chunks in the order of their fetches. */
  readonly fetched: number[] = [];
  /** Awaited before a chunk is fetched; an exception fails the fetch. */
  beforeFetch: (chunk: number) => Promise<void> | void = () => {};
  /** The bootstrap. */
  readonly mapping: Mapping;
  readonly #path: string;
  readonly #data: Fd;
  readonly #listeners: (() => void)[] = [];
  readonly #ready: Uint8Array<SharedArrayBuffer>;
  /** Content of files if it is not the pattern, by blob offset. */
  readonly #content: Uint8Array | undefined;

  /**
   * @param directory directory for bootstrap and cache file
   * @param content bytes of the first file of the tree; default: the pattern
   */
  constructor(directory: string, name: string, tree: SyntheticTree, chunkSize: number, content?: Uint8Array) {
    const { bootstrap, blobId } = makeSyntheticImage(tree, chunkSize, idOf(name));
    const path = `${directory}/${name}.boot`;
    Deno.writeFileSync(path, bootstrap);
    using fd = open(path, O.RDONLY);
    this.mapping = Mapping.ofFile(fd, bootstrap.length);
    const opened = openBootstrap(this.mapping.bytes);
    const [descriptor] = opened.blobs;
    if (descriptor === undefined) throw new Error("Cannot make image: no blob");
    this.id = blobId;
    this.chunks = chunkColumnsFromRecords(descriptor, opened.chunkRecords());
    this.#ready = new Uint8Array(new SharedArrayBuffer(Math.ceil(this.chunks.count / 8)));
    this.#path = `${directory}/${name}.data`;
    this.#data = open(this.#path, O.RDWR | O.CREAT);
    this.#content = content;
    const { address, length } = this.mapping;
    this.image = { name, bootstrap: { address, length }, tree: opened, blobs: [this] };
  }

  open(): Promise<OpenBlob> {
    return Promise.resolve({ dataFd: this.#data.raw, chunks: this.chunks, ready: this.#ready, path: this.#path });
  }

  seal(chunkIndexes: Iterable<number>): boolean {
    return [...chunkIndexes].every((index) => this.#isReady(index));
  }

  copiesName(): Promise<string> {
    return Promise.resolve(this.id);
  }

  onStored(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #isReady(index: number): boolean {
    return ((this.#ready[index >> 3] as number) & (0x80 >> (index & 7))) !== 0;
  }

  async ensure(offset: number, length: number, _priority: Priority, signal?: AbortSignal): Promise<void> {
    for (let i = 0; i < this.chunks.count; i++) {
      const start = this.chunks.uncompressedOffset[i] as number;
      const end = start + (this.chunks.uncompressedSize[i] as number);
      if (end <= offset || start >= offset + length) continue;
      if (!this.#isReady(i)) await abortable(this.#fetch(i, start, end), signal);
    }
  }

  async #fetch(index: number, start: number, end: number): Promise<void> {
    await this.beforeFetch(index);
    const bytes = new Uint8Array(end - start);
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#content?.[start + i] ?? patternByte(start + i);
    pwriteAll(this.#data, bytes, start);
    this.fetched.push(index);
    Atomics.or(this.#ready, index >> 3, 0x80 >> (index & 7));
    for (const listener of this.#listeners) listener();
  }

  [Symbol.dispose](): void {
    this.#data[Symbol.dispose]();
    this.mapping[Symbol.dispose]();
  }
}

function idOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** Settles like `promise`, or rejects with the signal's reason as soon as it is aborted. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
