/**
 * The backend `localdisk`: a block device, or an image of one, with one blob per GPT partition.
 *
 * ```
 * blob id (64 digits) = partition name (32) + partition GUID (32)      Linux data and other types
 * blob id             = begins with the 32 digits of the name          basic data partitions, of older images
 * ```
 * The table is read on each access, so new and moved partitions are found. The size of a blob is that of its partition,
 * which may exceed the size in the image. Source: dragonflyoss/nydus 34e6071e, storage/src/backend/localdisk.rs.
 *
 * @module
 */
import { throwIfAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { LocalDiskConfig } from "../backend_config.ts";
import { checkBlobName } from "../blob_id.ts";
import type { Backend, BlobSource, ReadOptions } from "../blob_source.ts";
import { Disk } from "./disk.ts";
import { BASIC_DATA, type GptPartition } from "./gpt.ts";

const log = logger("backend");

/** Digits of the ID that older images store as the partition name. */
const LEGACY_NAME_LENGTH = 32;

/** One disk. */
export class LocalDiskBackend implements Backend {
  readonly description: string;
  readonly #devicePath: string;
  /** Damage that has been logged. Each access reads the table again. */
  readonly #reported = new Set<string>();

  constructor({ devicePath }: Pick<LocalDiskConfig, "devicePath">) {
    this.#devicePath = devicePath;
    this.description = `localdisk ${devicePath}`;
  }

  /** @throws {NydusGdError} "invalid-image" if the ID is not a file name */
  blob(id: string): BlobSource {
    const onDamage = (state: string) => this.#warn(state);
    return new DiskBlob(`${this.description}, blob ${id}`, this.#devicePath, checkBlobName(id), onDamage);
  }

  #warn(state: string): void {
    if (this.#reported.has(state)) return;
    this.#reported.add(state);
    log.warn("partition table damaged", { disk: this.#devicePath, state });
  }
}

class DiskBlob implements BlobSource {
  constructor(
    readonly description: string,
    private readonly devicePath: string,
    private readonly id: string,
    private readonly onDamage: (state: string) => void,
  ) {}

  async read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array<ArrayBuffer>> {
    throwIfAborted(options.signal);
    using disk = await Disk.open(this.devicePath);
    const partition = await this.#find(disk);
    if (offset + length > partition.sizeBytes) {
      throw this.#failed(`read ${length} bytes at ${offset} of`, `${named(partition)} ends at ${partition.sizeBytes}`);
    }
    return await disk.read(partition.offsetBytes + offset, length, options.signal);
  }

  async size(signal?: AbortSignal): Promise<number> {
    throwIfAborted(signal);
    using disk = await Disk.open(this.devicePath);
    return (await this.#find(disk)).sizeBytes;
  }

  async #find(disk: Disk): Promise<GptPartition> {
    const partitions = await disk.partitions(this.onDamage);
    const exact = partitions.filter((partition) => partition.name + partition.guid === this.id);
    const found = exact.length > 0 ? exact : partitions.filter((partition) => isLegacy(partition, this.id));
    const [partition, other] = found;
    if (partition === undefined) {
      throw new NydusGdError("not-found", `Cannot find blob ${this.id}: ${this.devicePath} has no partition for it`);
    }
    if (other !== undefined) throw this.#failed("find", `${named(partition)} and ${named(other)} both claim it`);
    if (partition.offsetBytes + partition.sizeBytes > disk.sizeBytes) {
      throw this.#failed("find", `${named(partition)} reaches beyond the disk's end at ${disk.sizeBytes}`);
    }
    return partition;
  }

  #failed(what: string, state: string): NydusGdError {
    return new NydusGdError("io", `Cannot ${what} blob ${this.id} on ${this.devicePath}: ${state}`);
  }
}

/**
 * Whether a basic data partition is named by the start of the ID, or by the whole ID, which need not have 64 digits.
 */
function isLegacy({ typeGuid, name }: GptPartition, id: string): boolean {
  if (typeGuid !== BASIC_DATA || name === "") return false;
  return name === id || (id.length >= LEGACY_NAME_LENGTH && name === id.slice(0, LEGACY_NAME_LENGTH));
}

function named({ number }: GptPartition): string {
  return `partition ${number}`;
}
