/**
 * One large file in a synthetic image (mountable_synthetic.ts), mounted by a data path, and reads of it.
 *
 * @module
 */
import type { FsDriver } from "../../../lib/mount/data_path.ts";
import type { ImageMount } from "../../../lib/mount/image_mount.ts";
import type { Probe } from "./fs_probe.ts";
import { MountableSynthetic, patternByte } from "./mountable_synthetic.ts";
import { TestMounts, type TestMountsOptions } from "./mounts_kit.ts";

/** Size of the file's chunks, and their number. */
export const CHUNK = 64 << 10;
export const CHUNKS = 16;

/** Bytes of the blob, as returned by a {@link Probe}. */
export function pattern(offset: number, length = 4096): string {
  return Uint8Array.from({ length }, (_, i) => patternByte(offset + i)).toHex();
}

/** A read of the start of a chunk. */
export function readOf(path: string, chunk: number): Probe {
  return { op: "read", path, offset: chunk * CHUNK, length: 4096 };
}

/**
 * The image and the offset of its file in the blob. If packed, the file follows another one, so that its chunks are not
 * block-aligned.
 */
export class SyntheticFile implements Disposable {
  readonly image: MountableSynthetic;
  /** Offset of the file in the blob. */
  private readonly start: number;

  /** @param dir and `name`: as for {@link MountableSynthetic} */
  constructor(dir: string, packed: boolean, name = "image") {
    const tree = { ...(packed ? { before: 5 } : {}), file: CHUNKS * CHUNK };
    this.image = new MountableSynthetic(dir, name, tree, CHUNK);
    this.start = (this.image.chunks.uncompressedOffset[packed ? 1 : 0] as number) % CHUNK;
  }

  /** Expected result of a read of the start of `chunk`. */
  expected(chunk: number): string {
    return pattern(this.start + chunk * CHUNK);
  }

  [Symbol.dispose](): void {
    this.image[Symbol.dispose]();
  }
}

/** Options of the image and its mount. */
export interface MountedSyntheticOptions extends TestMountsOptions {
  /** See {@link SyntheticFile}. */
  readonly packed?: boolean;
}

/** The mounted file; disposing unmounts it. */
export class MountedSynthetic implements AsyncDisposable {
  private constructor(
    readonly kit: TestMounts,
    private readonly synthetic: SyntheticFile,
    readonly mount: ImageMount,
  ) {}

  static async make(
    fsDriver: FsDriver,
    { packed = false, ...options }: MountedSyntheticOptions = {},
  ): Promise<MountedSynthetic> {
    const kit = await TestMounts.start(fsDriver, true, options);
    const synthetic = new SyntheticFile(kit.temp.path, packed);
    return new MountedSynthetic(kit, synthetic, await kit.mounts.add(synthetic.image.image, 1));
  }

  get image(): MountableSynthetic {
    return this.synthetic.image;
  }

  /** Path of the file. */
  get path(): string {
    return `${this.mount.path}/file`;
  }

  /** Expected result of a read of the start of `chunk`. */
  expected(chunk: number): string {
    return this.synthetic.expected(chunk);
  }

  /** Number of requests of the kernel so far. */
  get asked(): number {
    return this.kit.mounts.counters().requests;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kit.mounts[Symbol.asyncDispose]();
    this.synthetic[Symbol.dispose]();
    await this.kit[Symbol.asyncDispose]();
  }
}
