/**
 * Path resolution in a tree of names, as in path_resolution(7) for a process whose root is that of the tree: symbolic
 * links are followed, and neither "/" nor ".." leaves it. The caller defines the nodes.
 *
 * ```ts
 * const resolver = new PathResolver(root, { isFolder, childOf, targetOf });
 * resolver.resolve(pathParts("lib/modules")); // follows /lib if it is a link to a folder
 * ```
 *
 * @module
 */
import type { ByteString } from "../../base/bytes.ts";

/** Maximum symbolic links per resolution, as in the kernel (MAXSYMLINKS). */
const MAX_LINKS = 40;

/** Access to the nodes of a tree. */
export interface TreeNodes<Node, Folder extends Node> {
  isFolder(node: Node): node is Folder;
  childOf(folder: Folder, name: ByteString): Node | undefined;
  /** The target of a symbolic link; undefined for other nodes. */
  targetOf(node: Node): ByteString | undefined;
}

/** Resolves paths in one tree, relative to a current folder. */
export class PathResolver<Node, Folder extends Node> {
  /** The path from the root to the current folder. */
  #folders: [Folder, ...Folder[]];
  #linksLeft = MAX_LINKS;

  constructor(root: Folder, private readonly nodes: TreeNodes<Node, Folder>) {
    this.#folders = [root];
  }

  /** The current folder, in which the next name is looked up. */
  get folder(): Folder {
    return this.#folders.at(-1) ?? this.#folders[0];
  }

  /**
   * Resolves a relative path and follows a final symbolic link. A resulting folder becomes the current one.
   *
   * @param names see {@link pathParts}
   * @returns undefined if there is no such node; the resolver must not be used afterwards
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
   * Makes a child of the current folder the current one: a folder, or a symbolic link to one.
   *
   * @returns false if it is not a folder; the current folder then stays the same
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

/** Splits a path into names: "./usr//bin/" into usr, bin. */
export function pathParts(path: ByteString): ByteString[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * Splits the name of an archive's entry into names. ".." removes the name before it, whatever a link of that name leads
 * to, as Docker has it; one that leads above the root is kept.
 */
export function entryParts(name: ByteString): ByteString[] {
  const parts: ByteString[] = [];
  for (const part of pathParts(name)) {
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(part);
  }
  return parts;
}
