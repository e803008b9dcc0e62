/**
 * The way from folder to folder in a tree of names: symbolic links are followed as a kernel does below a root of its own,
 * neither "/" nor ".." leads out.
 *
 * ```ts
 * const way = new Way(root, { childrenOf: (node) => node.children, targetOf: (node) => node.target });
 * for (const name of ["lib", "modules"]) {
 *   const node = way.children.get(name);
 *   if (node === undefined || !way.enter(node)) return undefined;
 * }
 * way.children; // what /lib/modules has, be /lib a folder or a link to one
 * ```
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";

/** Links that are followed on one way, as in the kernel. */
export const MAX_LINKS = 40;

/** What a way has to know of what is at a name. */
export interface WaySigns<N> {
  /** Of a folder; undefined for anything else. */
  childrenOf(node: N): Map<ByteString, N> | undefined;
  /** Of a symbolic link; undefined for anything else. */
  targetOf(node: N): ByteString | undefined;
}

/** See the module. */
export class Way<N> {
  /** Folders from the root on. */
  readonly #folders: [Map<ByteString, N>, ...Map<ByteString, N>[]];
  #links = MAX_LINKS;

  constructor(root: Map<ByteString, N>, private readonly signs: WaySigns<N>) {
    this.#folders = [root];
  }

  /** What the folder has that the way leads to. */
  get children(): Map<ByteString, N> {
    return this.#folders.at(-1) ?? this.#folders[0];
  }

  /**
   * Goes on into what the folder has: a folder, or where a symbolic link leads.
   *
   * @returns false where that is no folder; the way is of no more use then
   */
  enter(node: N): boolean {
    const children = this.signs.childrenOf(node);
    if (children !== undefined) {
      this.#folders.push(children);
      return true;
    }
    const target = this.signs.targetOf(node);
    if (target === undefined || this.#links-- === 0) return false;
    if (target.startsWith("/")) this.#folders.length = 1;
    return pathParts(target).every((name) => {
      if (name === "..") {
        if (this.#folders.length > 1) this.#folders.pop();
        return true;
      }
      const next = this.children.get(name);
      return next !== undefined && this.enter(next);
    });
  }
}

/** The parts of a name in a tar: "./usr//bin/" is usr, bin. */
export function pathParts(name: ByteString): ByteString[] {
  return name.split("/").filter((part) => part !== "" && part !== ".");
}
