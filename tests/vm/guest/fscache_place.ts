/**
 * A place where images of one file are mounted out of the kernel's own cache, and a process that reads them.
 *
 * One place serves many tests: in an emulated machine it takes seconds to make.
 *
 * @module
 */
import type { ImageMount } from "../../../lib/mount/image_mount.ts";
import { Prober } from "../../support/fs_probe.ts";
import type { MountableSynthetic } from "../../support/mountable_synthetic.ts";
import { CHUNKS, readOf, SyntheticFile } from "../../support/mounted_synthetic.ts";
import { TestMounts, type TestMountsOptions } from "../../support/mounts_kit.ts";

const FS_DRIVER = "erofs-fscache";
/** How long reads may take, all of one call. */
const READS_TIMEOUT_MS = 60_000;

/** Numbers of all chunks of a file. */
const ALL_CHUNKS: readonly number[] = Array.from({ length: CHUNKS }, (_, chunk) => chunk);

/** See the module. */
export class Place implements AsyncDisposable {
  readonly #prober = new Prober();
  #images = 0;

  private constructor(readonly kit: TestMounts) {}

  static async make(options: TestMountsOptions = {}): Promise<Place> {
    return new Place(await TestMounts.start(FS_DRIVER, true, options));
  }

  /** An image of one file that no other image shares anything with, not mounted yet. Dispose it after its mounts. */
  image(packed = false): FileImage {
    return new FileImage(this, ++this.#images, packed);
  }

  /** The starts of chunks of the file at `path`, or "ERR:" and an errno. */
  read(path: string, chunks: readonly number[] = ALL_CHUNKS): Promise<string[]> {
    return this.#prober.probe(chunks.map((chunk) => readOf(path, chunk)), READS_TIMEOUT_MS);
  }

  /** Reads that the kernel asked for. */
  get asked(): number {
    return this.kit.mounts.counters().misses;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#prober[Symbol.asyncDispose]();
    await this.kit[Symbol.asyncDispose]();
  }
}

/** An image of one file. */
export class FileImage implements AsyncDisposable {
  readonly #synthetic: SyntheticFile;
  #mounts: ImageMount[] = [];

  constructor(private readonly place: Place, readonly number: number, packed: boolean) {
    this.#synthetic = new SyntheticFile(place.kit.temp.path, packed, `image-${number}`);
  }

  /** Its store, which can be made to fail. */
  get store(): MountableSynthetic {
    return this.#synthetic.image;
  }

  /** Mounts it: the path of the file. */
  async mount(name = this.store.image.name): Promise<string> {
    const mount = await this.place.kit.mounts.add({ ...this.store.image, name }, this.number);
    this.#mounts.push(mount);
    return `${mount.path}/file`;
  }

  /** Unmounts what was mounted first, and waits until the kernel has let go of it. */
  async unmount(): Promise<void> {
    const mount = this.#mounts.shift();
    await mount?.[Symbol.asyncDispose]();
    await mount?.released;
  }

  /** What reads of the starts of chunks have to give. */
  expected(chunks: readonly number[] = ALL_CHUNKS): string[] {
    return chunks.map((chunk) => this.#synthetic.expected(chunk));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#mounts.length > 0) await this.unmount();
    this.#synthetic[Symbol.dispose]();
  }
}
