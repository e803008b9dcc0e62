/**
 * Which blobs have cache files of a name other than their id: images that describe a blob differently do not share
 * files (blob_names.ts).
 *
 * @module
 */
import { type BlobNames, idOf, isBlobName, tracesOf } from "./blob_names.ts";

/** The names other than plain ids that files of one cache have, or had since it was opened. */
export class SeparateNames {
  readonly #traces: Set<string>;

  /** @param found names of the blobs that have files */
  constructor(found: Iterable<string>) {
    this.#traces = new Set([...found].flatMap(tracesOf));
  }

  /** Returns the longest of an image's names that has files, unless they were evicted meanwhile. */
  choose(names: BlobNames): string {
    const { id, described, contradicted } = names;
    if (this.#traces.has(contradicted) && this.#traces.has(names.exact)) return names.exact;
    return this.#traces.has(described) ? described : id;
  }

  /** The names that files of a blob may have: its id, and the others that files have, or had. */
  namesOf(id: string): string[] {
    return [id, ...[...this.#traces].filter((trace) => idOf(trace) === id && isBlobName(trace))];
  }

  /** Notes that there are going to be files of this name. */
  add(name: string): void {
    for (const trace of tracesOf(name)) this.#traces.add(trace);
  }
}
