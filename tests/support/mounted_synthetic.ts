/**
 * One large file in a synthetic image (mountable_synthetic.ts), mounted by a data path, and reads of it.
 *
 * @module
 */
import type { FsDriver } from "../../lib/mount/choose.ts";
import type { ImageMount } from "../../lib/mount/image_mount.ts";
import type { Probe } from "./fs_probe.ts";
import { MountableSynthetic, patternByte } from "./mountable_synthetic.ts";
import { TestMounts } from "./mounts_kit.ts";

/** Size of the file's chunks, and how many there are. */
export const CHUNK = 64 << 10;
export const CHUNKS = 16;

/** Bytes of the blob, as a {@link Probe} tells them. */
export function pattern(offset: number, length = 4096): string {
  return Uint8Array.from({ length }, (_, i) => patternByte(offset + i)).toHex();
}

/** A read of the start of a chunk. */
export function readOf(path: string, chunk: number): Probe {
  return { op: "read", path, offset: chunk * CHUNK, length: 4096 };
}

/** How it is made. */
export interface MountedSyntheticOptions {
  /** The file begins behind another one, so that its chunks lie at no block. */
  readonly packed?: boolean;
  /** See {@link TestMounts.start}. */
  readonly deadlineMs?: number;
  readonly parent?: string;
}

/** See the module. */
export class MountedSynthetic implements AsyncDisposable {
  private constructor(
    readonly kit: TestMounts,
    readonly image: MountableSynthetic,
    readonly mount: ImageMount,
    /** Where the file begins in the blob. */
    readonly start: number,
  ) {}

  static async make(
    fsDriver: FsDriver,
    { packed = false, deadlineMs, parent }: MountedSyntheticOptions = {},
  ): Promise<MountedSynthetic> {
    const kit = await TestMounts.start(fsDriver, true, deadlineMs, parent);
    const tree = { ...(packed ? { before: 5 } : {}), file: CHUNKS * CHUNK };
    const image = new MountableSynthetic(kit.temp.path, "image", tree, CHUNK);
    const start = (image.chunks.uncompressedOffset[packed ? 1 : 0] as number) % CHUNK;
    return new MountedSynthetic(kit, image, await kit.mounts.add(image.image, 1), start);
  }

  /** Path of the file. */
  get path(): string {
    return `${this.mount.path}/file`;
  }

  /** What a read of the start of `chunk` has to give. */
  expected(chunk: number): string {
    return pattern(this.start + chunk * CHUNK);
  }

  /** How often the kernel has asked. */
  get asked(): number {
    return this.kit.mounts.counters().requests;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kit.mounts[Symbol.asyncDispose]();
    this.image[Symbol.dispose]();
    await this.kit[Symbol.asyncDispose]();
  }
}
