/**
 * Large pieces of memory whose pages are with the kernel while nobody looks at them: in its cache, or on the disk.
 *
 * ```ts
 * using memory = new PagedMemory("/var/tmp");
 * const bytes = memory.allocate(size);
 * // … write them …
 * memory.letGo(); // none of them is in this process; whoever reads gets them back
 * ```
 * Each piece is a file without a name, mapped, with its blocks reserved: a store to a file that the disk has no room for
 * would end the program. Where the folder has no room, or cannot have such files, a piece is ordinary memory.
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

/** Bytes of a piece below which a file costs more than it saves. */
const SMALL = 1 << 20;

/** Resident bytes from which garbage is collected, and what has to come to it before it is again. */
const LARGE_BYTES = 224 << 20, GROWTH_BYTES = 24 << 20;

/** See the module. Disposing takes the pieces away: views of them are empty from then on. */
export class PagedMemory implements Disposable {
  readonly #mappings: Mapping[] = [];
  #largeBytes = LARGE_BYTES;

  /** @param dir that is there as long as this is */
  constructor(private readonly dir: string) {}

  /** So many zeros. */
  allocate(sizeBytes: number): Uint8Array<ArrayBuffer> {
    if (sizeBytes < SMALL) return new Uint8Array(sizeBytes);
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

  /** Takes the pages of all pieces out of this process, and its garbage where it has grown large all the same. */
  letGo(): void {
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
