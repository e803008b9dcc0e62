/**
 * Large buffers whose pages the kernel can reclaim while they are not in use, because files back them.
 *
 * ```ts
 * using memory = new PagedMemory("/var/tmp");
 * const bytes = memory.allocate(size);
 * // … write them …
 * memory.dropPages(); // drops the pages from this process; reading maps them again
 * ```
 * Each buffer is a mapped, unnamed file whose blocks are reserved in advance, since a store to a page without disk
 * space would end the program. If the directory has no space or does not support such files, a buffer is ordinary
 * memory.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { fallocate, O, open } from "../../ffi/fcntl.ts";
import { MADV, Mapping } from "../../ffi/sys_mman.ts";
import { messageOf } from "./errors.ts";
import { collectGarbage } from "./garbage.ts";
import { logger } from "./log.ts";

const log = logger("base");

/** Size in bytes below which a file costs more than it saves. */
const SMALL_BYTES = 1 << 20;

/** Resident bytes from which garbage is collected, and the growth after which it is collected again. */
const LARGE_BYTES = 224 << 20, GROWTH_BYTES = 24 << 20;

/** Allocates file-backed buffers. Disposing unmaps them: their views are empty afterwards. */
export class PagedMemory implements Disposable {
  readonly #mappings: Mapping[] = [];
  #largeBytes = LARGE_BYTES;

  /** @param dir must exist during the lifetime of this object */
  constructor(private readonly dir: string) {}

  /** Allocates `sizeBytes` zeroed bytes. */
  allocate(sizeBytes: number): Uint8Array<ArrayBuffer> {
    if (sizeBytes < SMALL_BYTES) return new Uint8Array(sizeBytes);
    try {
      using file = open(this.dir, O.TMPFILE | O.RDWR, 0o600);
      fallocate(file, 0, 0, sizeBytes);
      const mapping = Mapping.ofFile(file, sizeBytes, { shared: true, writable: true });
      this.#mappings.push(mapping);
      return mapping.bytes;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      log.debug("no file for large memory", { dir: this.dir, sizeBytes, reason: messageOf(error) });
      return new Uint8Array(sizeBytes);
    }
  }

  /** Drops the pages of all buffers from this process, and collects garbage if the process is still large. */
  dropPages(): void {
    for (const mapping of this.#mappings) mapping.advise(MADV.DONTNEED);
    const { rss } = Deno.memoryUsage();
    if (rss < this.#largeBytes) return;
    collectGarbage();
    this.#largeBytes = Math.max(LARGE_BYTES, Deno.memoryUsage().rss + GROWTH_BYTES);
  }

  [Symbol.dispose](): void {
    for (const mapping of this.#mappings.splice(0)) mapping[Symbol.dispose]();
  }
}
