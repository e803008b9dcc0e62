/**
 * A server that mounts single-file images from the kernel's own cache, and a process that reads them.
 *
 * Many tests share one place, because creating it takes seconds in an emulated machine.
 *
 * @module
 */
import type { ImageMount } from "../../../lib/mount/image_mount.ts";
import { Prober } from "../../support/mount/fs_probe.ts";
import type { MountableSynthetic } from "../../support/mount/mountable_synthetic.ts";
import { CHUNKS, readOf, SyntheticFile } from "../../support/mount/mounted_synthetic.ts";
import { TestMounts, type TestMountsOptions } from "../../support/mount/mounts_kit.ts";

const FS_DRIVER = "erofs-fscache";
/** Time limit for all reads of one call. */
const READS_TIMEOUT_MS = 60_000;

/** Numbers of all chunks of a file. */
const ALL_CHUNKS: readonly number[] = Array.from({ length: CHUNKS }, (_, chunk) => chunk);

/** Mounts and reads single-file images; shared by many tests. */
export class FscachePlace implements AsyncDisposable {
  readonly #prober = new Prober();
  #images = 0;

  private constructor(readonly kit: TestMounts) {}

  static async make(options: TestMountsOptions = {}): Promise<FscachePlace> {
    return new FscachePlace(await TestMounts.start(FS_DRIVER, true, options));
  }

  /** A single-file image that shares nothing with others, not mounted yet. Dispose it after its mounts. */
  image(packed = false): FileImage {
    return new FileImage(this, ++this.#images, packed);
  }

  /** Reads the beginning of chunks of the file at `path`; errors are "ERR:" and an errno. */
  read(path: string, chunks: readonly number[] = ALL_CHUNKS): Promise<string[]> {
    return this.#prober.probe(chunks.map((chunk) => readOf(path, chunk)), READS_TIMEOUT_MS);
  }

  /** Number of reads requested by the kernel. */
  get asked(): number {
    return this.kit.mounts.counters().misses;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#prober[Symbol.asyncDispose]();
    await this.kit[Symbol.asyncDispose]();
  }
}

/** An image of one file. */
class FileImage implements AsyncDisposable {
  readonly #synthetic: SyntheticFile;
  #mounts: ImageMount[] = [];

  constructor(private readonly place: FscachePlace, readonly number: number, packed: boolean) {
    this.#synthetic = new SyntheticFile(place.kit.temp.path, packed, `image-${number}`);
  }

  /** Its chunk store, which can be made to fail. */
  get store(): MountableSynthetic {
    return this.#synthetic.image;
  }

  /** Mounts it; returns the path of the file. */
  async mount(name = this.store.image.name): Promise<string> {
    const mount = await this.place.kit.mounts.add({ ...this.store.image, name }, this.number);
    this.#mounts.push(mount);
    return `${mount.path}/file`;
  }

  /** Unmounts the oldest mount and waits until the kernel has released it. */
  async unmount(): Promise<void> {
    const mount = this.#mounts.shift();
    await mount?.[Symbol.asyncDispose]();
    await mount?.released;
  }

  /** Expected results of reading the beginning of chunks. */
  expected(chunks: readonly number[] = ALL_CHUNKS): string[] {
    return chunks.map((chunk) => this.#synthetic.expected(chunk));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#mounts.length > 0) await this.unmount();
    this.#synthetic[Symbol.dispose]();
  }
}
