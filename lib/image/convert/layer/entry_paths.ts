/**
 * Splits the names of consecutive entries. Most are in the folder of the entry before, whose path is not split again.
 *
 * @module
 */
import { type ByteString, toByteString } from "../../../base/bytes.ts";
import { isDots, SLASH } from "../../../base/path_bytes.ts";
import { entryParts } from "../../tree/path_resolver.ts";

/** Splits names like {@link entryParts}. */
export class EntryPaths {
  /** Folder of the last name, with a trailing slash, and its parts. */
  #folder = new Uint8Array(0);
  #parts: readonly ByteString[] = [];

  /** The parts of a name. */
  partsOf(name: Uint8Array): ByteString[] {
    const start = name.lastIndexOf(SLASH) + 1;
    const last = name.subarray(start);
    if (last.length === 0 || isDots(last)) return entryParts(toByteString(name));
    if (!this.#isLastFolder(name, start)) {
      this.#folder = name.slice(0, start);
      this.#parts = entryParts(toByteString(this.#folder));
    }
    return [...this.#parts, toByteString(last)];
  }

  /** Whether the first `size` bytes are the folder of the last name. */
  #isLastFolder(name: Uint8Array, size: number): boolean {
    if (size !== this.#folder.length) return false;
    for (let k = size - 1; k >= 0; k--) if (name[k] !== this.#folder[k]) return false; // most differ at the end
    return true;
  }
}
