/**
 * Path resolution in a tree of names, as in path_resolution(7) for a process whose root is that of the tree: symbolic
 * links are followed, and neither "/" nor ".." leads out of it. What the nodes of the tree are is the caller's matter.
 *
 * ```ts
 * const resolver = new PathResolver(root, { isFolder, childOf, targetOf });
 * resolver.resolve(pathParts("lib/modules")); // what is there, be /lib a folder or a link to one
 * ```
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";

/** Links that one resolution follows, as in the kernel (MAXSYMLINKS). */
const MAX_LINKS = 40;

/** How the nodes of a tree are read. */
export interface TreeNodes<Node, Folder extends Node> {
  isFolder(node: Node): node is Folder;
  childOf(folder: Folder, name: ByteString): Node | undefined;
  /** Of a symbolic link; undefined for anything else. */
  targetOf(node: Node): ByteString | undefined;
}

/** See the module. */
export class PathResolver<Node, Folder extends Node> {
  /** From the root to the current folder. */
  #folders: [Folder, ...Folder[]];
  #linksLeft = MAX_LINKS;

  constructor(root: Folder, private readonly nodes: TreeNodes<Node, Folder>) {
    this.#folders = [root];
  }

  /** The current folder: what the next name is looked up in. */
  get folder(): Folder {
    return this.#folders.at(-1) ?? this.#folders[0];
  }

  /**
   * What a relative path leads to, the link that it may end in followed. A folder becomes the current one.
   *
   * @param names see {@link pathParts}
   * @returns undefined where nothing is there; the resolver is of no more use then
   */
  resolve(names: Iterable<ByteString>): Node | undefined {
    let found: Node | undefined = this.folder;
    for (const name of names) {
      if (found !== this.folder) return undefined;
      if (name === "..") {
        if (this.#folders.length > 1) this.#folders.pop();
        found = this.folder;
      } else {
        const child = this.nodes.childOf(this.folder, name);
        if (child === undefined) return undefined;
        found = this.#follow(child);
      }
    }
    return found;
  }

  /**
   * Makes a child of the current folder the current one: a folder, or where a symbolic link leads.
   *
   * @returns false where that is no folder; the current one stays
   */
  enter(child: Node): boolean {
    if (this.nodes.isFolder(child)) {
      this.#folders.push(child);
      return true;
    }
    const before: [Folder, ...Folder[]] = [...this.#folders];
    if (this.#follow(child) === this.folder) return true;
    this.#folders = before;
    return false;
  }

  #follow(node: Node): Node | undefined {
    if (this.nodes.isFolder(node)) {
      this.#folders.push(node);
      return node;
    }
    const target = this.nodes.targetOf(node);
    if (target === undefined) return node;
    if (this.#linksLeft-- === 0) return undefined;
    if (target.startsWith("/")) this.#folders.length = 1;
    return this.resolve(pathParts(target));
  }
}

/** The names of a path: "./usr//bin/" is usr, bin. */
export function pathParts(path: ByteString): ByteString[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}
