/**
 * The tree that an image should have: attributes and digests of what it was made of.
 *
 * Layers are merged as they are when a container runs: a later layer's entry takes the place of an earlier one, folders
 * are merged, whiteouts and opaque marks hide what earlier layers have, and never what their own layer has. A symbolic
 * link on the way to a name is followed where it is of the same layer.
 *
 * Paths are {@link ByteString}s, parts split at slashes.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import type { ByteString } from "../../base/bytes.ts";
import { PathResolver } from "../path_resolver.ts";

/** What is at a name. Hard links are one object under several names. */
export interface SourceInode {
  /** Type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
  readonly mtimeNsec: number;
  /** Of devices, else 0. */
  readonly rdev: number;
  /** Of files. */
  readonly size: number;
  /** SHA-256 of a file's content, hexadecimal; "" for what is no file. */
  readonly digest: string;
  /** Of symbolic links, else "". */
  readonly target: ByteString;
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** A name of the tree. */
export interface SourceNode {
  /** Undefined for a folder that nothing names but what is in it: its attributes are anybody's. */
  inode: SourceInode | undefined;
  /** Of a folder. */
  children: Map<ByteString, SourceNode> | undefined;
  /** The last layer that named it. */
  layer: number;
}

interface SourceFolder extends SourceNode {
  children: Map<ByteString, SourceNode>;
}

/** See the module. */
export class SourceTree {
  readonly root: SourceFolder = { inode: undefined, children: new Map(), layer: 0 };
  #layer = 0;

  /** What follows is of the next layer. */
  beginLayer(): void {
    this.#layer++;
  }

  /** Gives the path an inode of its own; "." and "" are left out of it by the caller. */
  put(path: readonly ByteString[], inode: SourceInode): void {
    const isFolder = (inode.mode & S.IFMT) === S.IFDIR;
    const name = path.at(-1);
    if (name === undefined) {
      if (isFolder) this.root.inode = inode;
      return;
    }
    const folder = this.#folderOf(path);
    const known = folder.get(name);
    if (isFolder && known?.children !== undefined) {
      known.inode = inode;
      known.layer = this.#layer;
    } else folder.set(name, { inode, children: isFolder ? new Map() : undefined, layer: this.#layer });
  }

  /** Gives the inode of `target` another name. False when there is no such file. */
  link(path: readonly ByteString[], target: readonly ByteString[]): boolean {
    const name = path.at(-1);
    const inode = this.#follow(target);
    if (inode?.inode === undefined || inode.children !== undefined || name === undefined) return false;
    this.#folderOf(path).set(name, { inode: inode.inode, children: undefined, layer: this.#layer });
    return true;
  }

  /** Hides what earlier layers have at the path. */
  whiteout(path: readonly ByteString[]): void {
    const name = path.at(-1);
    const folder = this.find(path.slice(0, -1))?.children;
    const node = name === undefined ? undefined : folder?.get(name);
    if (name === undefined || node === undefined) return;
    if (!this.#keepOwn(node)) folder?.delete(name);
  }

  /** Hides what earlier layers have in the folder. */
  opaque(path: readonly ByteString[]): void {
    const children = this.find(path)?.children ?? new Map<ByteString, SourceNode>();
    for (const [name, child] of children) if (!this.#keepOwn(child)) children.delete(name);
  }

  /** What is at the path itself. */
  find(path: readonly ByteString[]): SourceNode | undefined {
    let node: SourceNode | undefined = this.root;
    for (const name of path) node = node?.children?.get(name);
    return node;
  }

  /** What is where the path leads to. */
  #follow(path: readonly ByteString[]): SourceNode | undefined {
    return this.#resolver().resolve(path.slice(0, -1))?.children?.get(path.at(-1) ?? "");
  }

  #resolver(): PathResolver<SourceNode, SourceFolder> {
    return new PathResolver<SourceNode, SourceFolder>(this.root, {
      isFolder: (node): node is SourceFolder => node.children !== undefined,
      childOf: ({ children }, name) => children.get(name),
      targetOf: ({ inode }) => inode?.target || undefined,
    });
  }

  /** Takes away what is not of this layer; false when nothing is left. */
  #keepOwn(node: SourceNode): boolean {
    for (const [name, child] of node.children ?? []) if (!this.#keepOwn(child)) node.children?.delete(name);
    if (node.layer === this.#layer) return true;
    if (node.children === undefined || node.children.size === 0) return false;
    node.inode = undefined;
    return true;
  }

  /** A link of an earlier layer gives way to a folder: a layer is unpacked by itself. */
  #folderOf(path: readonly ByteString[]): Map<ByteString, SourceNode> {
    const resolver = this.#resolver();
    for (const name of path.slice(0, -1)) {
      const { children } = resolver.folder;
      const node = children.get(name);
      const isKept = node?.children !== undefined || node?.layer === this.#layer;
      if (node !== undefined && isKept && resolver.enter(node)) continue;
      const made: SourceFolder = { inode: undefined, children: new Map(), layer: this.#layer };
      children.set(name, made);
      resolver.enter(made);
    }
    return resolver.folder.children;
  }
}
