/**
 * A mountable synthetic image (rafs/synthetic_image.ts) whose fetches a test can delay or fail.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import { unlessAborted } from "../../../lib/base/abort.ts";
import type { MountableImage, OpenBlob } from "../../../lib/mount/image_mount.ts";
import type { Priority } from "../../../lib/base/limiter.ts";
import { chunkColumnsFromRecords } from "../../../lib/rafs/blob/chunk_records.ts";
import type { ChunkColumns } from "../../../lib/rafs/blob/chunk_table.ts";
import { openBootstrap } from "../../../lib/rafs/open.ts";
import { lossless, missingChunks, SimpleStore } from "./simple_store.ts";
import { makeSyntheticImage, type SyntheticTree } from "../rafs/synthetic_image.ts";

/** Byte at `offset` of the blob; all chunks differ. */
export function patternByte(offset: number): number {
  return (Math.imul(offset, 2654435761) >>> 24) & 0xff;
}

/** The image and its only blob, whose id depends on the image's name. */
export class MountableSynthetic extends SimpleStore implements Disposable {
  readonly id: string;
  readonly image: MountableImage;
  readonly chunks: ChunkColumns;
  /** Awaited before a chunk is fetched; an exception fails the fetch. */
  beforeFetch: (chunk: number) => Promise<void> | void = () => {};
  /** The bootstrap. */
  readonly mapping: Mapping;
  protected override readonly opened: OpenBlob;
  readonly #data: Fd;
  /** Content of files if it is not the pattern, by blob offset. */
  readonly #content: Uint8Array | undefined;

  /**
   * @param directory directory for bootstrap and cache file
   * @param content bytes of the first file of the tree; default: the pattern
   */
  constructor(directory: string, name: string, tree: SyntheticTree, chunkSize: number, content?: Uint8Array) {
    super();
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
    const ready = new Uint8Array(new SharedArrayBuffer(Math.ceil(this.chunks.count / 8)));
    const dataPath = `${directory}/${name}.data`;
    this.#data = open(dataPath, O.RDWR | O.CREAT);
    const { chunks } = this;
    this.opened = { dataFd: this.#data.raw, chunks, ready, ...lossless(chunks.count), path: dataPath };
    this.#content = content;
    const { address, length } = this.mapping;
    this.image = { name, bootstrap: { address, length }, tree: opened, blobs: [this] };
  }

  open(): Promise<OpenBlob> {
    return Promise.resolve(this.opened);
  }

  async ensure(offset: number, length: number, _priority: Priority, signal?: AbortSignal): Promise<void> {
    for (const chunk of missingChunks(this.opened, offset, length)) await unlessAborted(this.#fetch(chunk), signal);
  }

  async #fetch(index: number): Promise<void> {
    await this.beforeFetch(index);
    const start = this.chunks.uncompressedOffset[index] as number;
    const bytes = new Uint8Array(this.chunks.uncompressedSize[index] as number);
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#content?.[start + i] ?? patternByte(start + i);
    this.put(this.opened, index, bytes);
  }

  [Symbol.dispose](): void {
    this.#data[Symbol.dispose]();
    this.mapping[Symbol.dispose]();
  }
}

function idOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}
