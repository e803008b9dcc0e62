/**
 * Where chunk tables come from, and where copies of them are kept.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { fstat, S } from "../../../ffi/sys_stat.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { BlobDescriptor, ChunkRecord } from "../../rafs/bootstrap.ts";

const log = logger("blob");

/** Where the chunk table of one blob comes from. */
export interface TableSource {
  readonly id: string;
  readonly descriptor: BlobDescriptor;
  records(): Iterable<Readonly<ChunkRecord>>;
  /** `.blob.meta` shipped with the image, in the form of the blob or of the cache. */
  readonly embeddedMeta?: Uint8Array;
  /**
   * Reads a range of the blob that holds the compression info. @param signal aborts this read only, unlike
   * {@link signal}
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** Size of that blob in bytes. @param signal as for {@link read} */
  size(signal?: AbortSignal): Promise<number>;
  /** Aborted when the table is no longer needed. */
  readonly signal?: AbortSignal;
}

/** Cached copies of a chunk table. */
export interface TableCache {
  readonly path: string;
  /** Path of a table that led to wrong bytes. */
  readonly doubtfulPath: string;
  /**
   * Stores the table in the background and removes the doubtful one. A table that cannot be stored is fetched again.
   */
  keep(content: Uint8Array): void;
}

/** Reads a `.blob.meta` file; undefined if it is absent or has another size, in which case it is not read. */
export function readMetaFile(path: string, sizeBytes: number): Uint8Array | undefined {
  try {
    using fd = open(path, O.RDONLY | O.NOFOLLOW | O.NONBLOCK);
    const { mode, size } = fstat(fd);
    if ((mode & S.IFMT) === S.IFREG && size === sizeBytes) {
      const bytes = new Uint8Array(size);
      preadExact(fd, bytes, 0);
      return bytes;
    }
    log.warn("blob meta file not used", { path, reason: `it is not a file of ${sizeBytes} bytes` });
  } catch (error) {
    if (!isErrno(error, "ENOENT")) log.warn("blob meta file not used", { path, reason: messageOf(error) });
  }
  return undefined;
}
