/**
 * A block device, or an image of one, and its GPT partitions.
 *
 * If the primary header or its entries are damaged, the backup at the end of the disk is used. The position of the
 * header tells sectors of 512 bytes from those of 4096.
 *
 * @throws {NydusGdError} "not-found", "io"; "corrupt" if neither table is valid
 * @module
 */
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { readAt } from "../read_at.ts";
import {
  GptError,
  type GptHeader,
  type GptPartition,
  isGptHeader,
  parseGptEntries,
  parseGptHeader,
  SECTOR_SIZES,
} from "./gpt.ts";

/** An open disk. */
export class Disk implements Disposable {
  private constructor(readonly path: string, private readonly file: Deno.FsFile, readonly sizeBytes: number) {}

  static async open(path: string): Promise<Disk> {
    let file: Deno.FsFile | undefined;
    try {
      file = await Deno.open(path);
      // stat gives no size for a block device; seeking to the end does.
      return new Disk(path, file, await file.seek(0, Deno.SeekMode.End));
    } catch (error) {
      file?.close();
      if (error instanceof Deno.errors.NotFound) {
        throw new NydusGdError("not-found", `Cannot open disk ${path}: there is no such device or file`, {
          hint: "check device_path",
          cause: error,
        });
      }
      throw new NydusGdError("io", `Cannot open disk ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Reads exactly `length` bytes at `offset`. Not safe for concurrent use. */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const failed = (state: string, cause?: unknown) =>
      new NydusGdError("io", `Cannot read ${length} bytes at ${offset} of ${this.path}: ${state}`, { cause });
    if (offset + length > this.sizeBytes) throw failed(`it ends at ${this.sizeBytes}`);
    try {
      const bytes = await readAt(this.file, offset, length, signal);
      if (bytes.length < length) throw failed(`it ends at ${offset + bytes.length}`);
      return bytes;
    } catch (error) {
      throw error instanceof NydusGdError ? error : failed(messageOf(error), error);
    }
  }

  /**
   * Returns the partitions in use.
   *
   * @param onDamage called for each table that is skipped: "at sector 1 the header's checksum is wrong"
   */
  async partitions(onDamage: (state: string) => void): Promise<GptPartition[]> {
    const damages: string[] = [];
    for (const { sectorSize, lba } of placesOfHeaders(this.sizeBytes)) {
      const sector = await this.read(lba * sectorSize, sectorSize);
      if (!isGptHeader(sector)) continue;
      try {
        return await this.#table(parseGptHeader(sector, lba), sectorSize);
      } catch (error) {
        if (!(error instanceof GptError)) throw error;
        const damage = `at sector ${lba} ${error.message}`;
        damages.push(damage);
        onDamage(damage);
      }
    }
    const unreadable = (state: string, hint: string) =>
      new NydusGdError("corrupt", `Cannot read partition table of ${this.path}: ${state}`, { hint });
    if (damages.length === 0) throw unreadable("it has no GPT", "check device_path");
    throw unreadable(damages.join(", "), `sfdisk --verify ${this.path}`);
  }

  [Symbol.dispose](): void {
    this.file.close();
  }

  async #table(header: GptHeader, sectorSize: number): Promise<GptPartition[]> {
    const { entriesLba, entryCount, entrySizeBytes } = header;
    const [at, length] = [entriesLba * sectorSize, entryCount * entrySizeBytes];
    if (entriesLba < 2 || !(at + length <= this.sizeBytes)) throw new GptError("its entries are not on the disk");
    return parseGptEntries(header, await this.read(at, length), sectorSize);
  }
}

/** Returns the candidate positions of headers in order of preference: per sector size, the primary, then the backup. */
function placesOfHeaders(diskBytes: number): { readonly sectorSize: number; readonly lba: number }[] {
  return SECTOR_SIZES.flatMap((sectorSize) => {
    const sectors = Math.floor(diskBytes / sectorSize);
    return sectors < 3 ? [] : [{ sectorSize, lba: 1 }, { sectorSize, lba: sectors - 1 }];
  });
}
