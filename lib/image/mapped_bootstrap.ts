/**
 * A bootstrap file, mapped and parsed. Its pages are read ahead once, and dropped while the process is idle.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { MADV, Mapping } from "../../ffi/sys_mman.ts";
import { fstat, S } from "../../ffi/sys_stat.ts";
import { NydusGdError } from "../base/errors.ts";
import { BlobNames } from "../blob/cache/blob_names.ts";
import type { Bootstrap } from "../rafs/bootstrap.ts";
import { separateMetaId } from "../rafs/format/flags.ts";
import { openBootstrap } from "../rafs/open.ts";
import type { OpenOptions } from "../rafs/format/unsupported.ts";

/** Maximum size of a bootstrap: nydus's limit of metadata. */
const MAX_BOOTSTRAP_BYTES = 2 ** 31;
/** Total size of all bootstraps up to which an idle process keeps their pages. */
const KEPT_BYTES = 16 << 20;

/** A bootstrap file, mapped and parsed. */
export class MappedBootstrap implements Disposable {
  /** All instances that are not disposed. */
  static readonly #mapped = new Set<MappedBootstrap>();

  private constructor(readonly path: string, readonly mapping: Mapping, readonly tree: Bootstrap) {
    MappedBootstrap.#mapped.add(this);
  }

  /** @throws {NydusGdError} "invalid-image", "unsupported" for its content; "not-found", "io" for the file */
  static open(path: string, options: OpenOptions = {}): MappedBootstrap {
    const mapping = mapBootstrap(path);
    mapping.advise(MADV.WILLNEED); // read ahead: lookups would wait for the disk page by page
    try {
      return new MappedBootstrap(path, mapping, openBootstrap(mapping.bytes, options));
    } catch (error) {
      mapping[Symbol.dispose]();
      throw error;
    }
  }

  /** Returns the names under which the cache stores the blobs. */
  blobNames(): BlobNames[] {
    const { tree } = this;
    return tree.blobs.map((descriptor) => {
      const metaId = separateMetaId(descriptor, undefined);
      return new BlobNames({ descriptor, metaId, records: () => tree.chunkRecords(descriptor.index) });
    });
  }

  /**
   * Drops the pages of all bootstraps from this process, typically loaded by a walk of the image. They stay in the page
   * cache while the kernel has memory. Pages of a few small bootstraps are kept for lookups.
   */
  static dropPages(): void {
    const mappings = [...MappedBootstrap.#mapped].map(({ mapping }) => mapping);
    if (mappings.reduce((sum, { length }) => sum + length, 0) <= KEPT_BYTES) return;
    for (const mapping of mappings) mapping.advise(MADV.DONTNEED);
  }

  [Symbol.dispose](): void {
    MappedBootstrap.#mapped.delete(this);
    this.mapping[Symbol.dispose]();
  }
}

/**
 * Maps a bootstrap file read-only.
 *
 * @throws {NydusGdError} "not-found", "invalid-image" if it is not a file, empty or too large; {SyscallError}
 */
function mapBootstrap(path: string): Mapping {
  using file = openFile(path);
  const { size, mode } = fstat(file);
  const refuse = (state: string) => new NydusGdError("invalid-image", `Cannot read bootstrap ${path}: ${state}`);
  if ((mode & S.IFMT) !== S.IFREG) throw refuse("it is not a file");
  if (size === 0) throw refuse("it is empty");
  if (size > MAX_BOOTSTRAP_BYTES) throw refuse(`${size} bytes exceed ${MAX_BOOTSTRAP_BYTES}`);
  return Mapping.ofFile(file, size);
}

function openFile(path: string): Fd {
  try {
    return open(path, O.RDONLY | O.NONBLOCK); // do not wait for the writer of a pipe
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    throw new NydusGdError("not-found", `Cannot read bootstrap ${path}: there is no such file`, { cause: error });
  }
}
