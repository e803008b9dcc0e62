/**
 * Tracks which layers use which image.
 *
 * @module
 */

/** The holders of each image, by the ID of its layer. Adding a holder twice has no effect. */
export class ImageHolders {
  /** No entry: no holders. */
  readonly #holders = new Map<string, Set<string>>();

  /** Number of images with a holder. */
  get size(): number {
    return this.#holders.size;
  }

  isHeld(layerId: string): boolean {
    return this.#holders.has(layerId);
  }

  /** Returns the holders of the image, oldest first. */
  of(layerId: string): string[] {
    return [...this.#holders.get(layerId) ?? []];
  }

  add(layerId: string, holder: string): void {
    const holders = this.#holders.get(layerId) ?? new Set();
    this.#holders.set(layerId, holders.add(holder));
  }

  /** Removes a holder. Returns whether it was the last one; false if it did not hold the image. */
  remove(layerId: string, holder: string): boolean {
    const holders = this.#holders.get(layerId);
    return holders !== undefined && holders.delete(holder) && holders.size === 0 && this.#holders.delete(layerId);
  }
}
