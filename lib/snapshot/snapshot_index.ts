/**
 * The snapshots of a store by name: how they are stacked, and what can be made of them.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import type { Snapshot } from "./snapshot_record.ts";

/** containerd lists an image as unpacked also if its snapshots were deleted behind its back. */
const LOST_PARENT_HINT = "if it is an image's, remove the image and its containers, and pull it again";

/** Finds snapshots. Changes nothing on disk. */
export class SnapshotIndex {
  readonly #snapshots = new Map<string, Snapshot>();
  /** Number of snapshots on each parent that has some. */
  readonly #children = new Map<string, number>();

  constructor(snapshots: Iterable<Snapshot>) {
    for (const snapshot of snapshots) this.add(snapshot);
  }

  get count(): number {
    return this.#snapshots.size;
  }

  /** All snapshots. */
  all(): Snapshot[] {
    return [...this.#snapshots.values()];
  }

  has(name: string): boolean {
    return this.#snapshots.has(name);
  }

  /** Whether a snapshot that was found before is there, and neither finished nor replaced by another one since. */
  isStill({ name, number, kind }: Snapshot): boolean {
    const found = this.#snapshots.get(name);
    return found?.number === number && found.kind === kind;
  }

  /** @param hint what to do if it does not exist @throws {NydusGdError} "not-found" */
  get(name: string, what: string, hint?: string): Snapshot {
    const snapshot = this.#snapshots.get(name);
    if (snapshot !== undefined) return snapshot;
    const message = `Cannot ${what}: snapshot ${JSON.stringify(name)} does not exist`;
    throw new NydusGdError("not-found", message, hint === undefined ? {} : { hint });
  }

  /**
   * Returns the parent of a snapshot that can be created; undefined if it has none.
   *
   * @throws {NydusGdError} "exists", "not-found" for the parent, "usage"
   */
  creatable(what: string, name: string, parent: string): Snapshot | undefined {
    if (name === "") throw new NydusGdError("usage", `Cannot ${what}: its name is empty`);
    if (this.has(name)) throw new NydusGdError("exists", `Cannot ${what}: it exists already`);
    if (parent === "") return undefined;
    const snapshot = this.get(parent, what, LOST_PARENT_HINT);
    if (snapshot.kind !== "committed") throw unfit(`${what} on`, snapshot, "usage");
    return snapshot;
  }

  /** Returns the writable snapshot `key`, which can be committed as `name`. @throws as {@link creatable}, "unsupported" */
  committable(name: string, key: string): Snapshot {
    const active = this.get(key, "commit snapshot");
    if (active.kind !== "active") throw unfit("commit snapshot", active, "unsupported");
    this.creatable(`commit snapshot ${JSON.stringify(name)}`, name, "");
    return active;
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

/**
 * The error for what cannot be done with a snapshot of its kind.
 *
 * @param code as containerd's own snapshotters tell a wrong parent ("usage") from a wrong state ("unsupported")
 */
export function unfit(what: string, { name, kind }: Snapshot, code: "usage" | "unsupported"): NydusGdError {
  return new NydusGdError(code, `Cannot ${what} ${JSON.stringify(name)}: it is ${kind}`);
}
