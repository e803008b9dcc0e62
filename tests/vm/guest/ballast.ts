/**
 * Fills a file system to a given level.
 *
 * @module
 */
import { fallocate, O, open } from "../../../ffi/fcntl.ts";
import { statfs } from "../../../ffi/sys_statfs.ts";

/** A file that leaves `freePercent` of the file system free; removed when disposed. */
export class Ballast implements Disposable {
  private constructor(private readonly path: string) {}

  /** @param path must not exist */
  static at(path: string, freePercent: number): Ballast {
    using file = open(path, O.WRONLY | O.CREAT);
    const { availableBlocks, blocks, blockSize } = statfs(path);
    fallocate(file, 0, 0, Math.floor((availableBlocks - blocks * freePercent / 100) * blockSize));
    return new Ballast(path);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path);
  }
}
