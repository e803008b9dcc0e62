/**
 * The snapshots of a store by name, and how they are stacked.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import type { Snapshot } from "./snapshot_record.ts";

/** Finds snapshots. Changes nothing on disk. */
export class SnapshotIndex {
  readonly #snapshots = new Map<string, Snapshot>();
  /** Number of snapshots on each parent that has some. */
  readonly #children = new Map<string, number>();

  constructor(snapshots: Iterable<Snapshot>) {
    for (const snapshot of snapshots) this.add(snapshot);
  }

  /** All snapshots. */
  all(): Snapshot[] {
    return [...this.#snapshots.values()];
  }

  has(name: string): boolean {
    return this.#snapshots.has(name);
  }

  /** @throws {NydusGdError} "not-found" */
  get(name: string, what: string): Snapshot {
    const snapshot = this.#snapshots.get(name);
    if (snapshot !== undefined) return snapshot;
    throw new NydusGdError("not-found", `Cannot ${what}: snapshot ${JSON.stringify(name)} does not exist`);
  }

  hasChildren(name: string): boolean {
    return this.#children.has(name);
  }

  add(snapshot: Snapshot): void {
    this.#snapshots.set(snapshot.name, snapshot);
    if (snapshot.parent !== "") this.#children.set(snapshot.parent, (this.#children.get(snapshot.parent) ?? 0) + 1);
  }

  remove({ name, parent }: Snapshot): void {
    this.#snapshots.delete(name);
    const left = (this.#children.get(parent) ?? 0) - 1;
    if (left > 0) this.#children.set(parent, left);
    else this.#children.delete(parent);
  }

  /** Replaces a snapshot; the name may have changed, the parent not. */
  replace(before: Snapshot, after: Snapshot): void {
    this.remove(before);
    this.add(after);
  }

  /**
   * The snapshots that `name` stands for, the topmost first: itself and all below it.
   *
   * @param name "" for none
   * @throws {NydusGdError} "corrupt" if one is missing
   */
  stackOf(name: string): Snapshot[] {
    const stack: Snapshot[] = [];
    for (let at = name; at !== "";) {
      const snapshot = this.#snapshots.get(at);
      if (snapshot === undefined || stack.length > this.#snapshots.size) {
        throw new NydusGdError("corrupt", `Cannot use snapshot ${JSON.stringify(name)}: ${JSON.stringify(at)} is gone`);
      }
      stack.push(snapshot);
      at = snapshot.parent;
    }
    return stack;
  }
}
