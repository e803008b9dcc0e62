/**
 * The expected tree of an image: attributes and digests of its source.
 *
 * Layers are merged as in a running container: an entry replaces those of earlier layers, folders are merged, and
 * whiteouts and opaque marks hide entries of earlier layers but not of their own. A symbolic link in a path is followed
 * if it is from the same layer.
 *
 * Paths are lists of {@link ByteString}s, split at slashes.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import type { ByteString } from "../../base/bytes.ts";
import type { Seconds } from "../../base/seconds.ts";
import { PathResolver } from "../path_resolver.ts";

/** An inode. Hard links share one object. */
export interface SourceInode {
  /** Type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Seconds;
  readonly mtimeNsec: number;
  /** Device number; 0 if not a device. */
  readonly rdev: number;
  /** Size of a regular file. */
  readonly size: number;
  /** SHA-256 of a regular file's content in hexadecimal; "" for other types. */
  readonly digest: string;
  /** Target of a symbolic link; "" for other types. */
  readonly target: ByteString;
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** A name in the tree. */
export interface SourceNode {
  /** Undefined for a folder that occurs only in paths of other entries: its attributes are unspecified. */
  inode: SourceInode | undefined;
  /** Undefined if not a folder. */
  children: Map<ByteString, SourceNode> | undefined;
  /** The last layer that contains it. */
  layer: number;
}

interface SourceFolder extends SourceNode {
  children: Map<ByteString, SourceNode>;
}

/** A tree built from one or more layers. */
export class SourceTree {
  readonly root: SourceFolder = { inode: undefined, children: new Map(), layer: 0 };
  #layer = 0;

  /** Starts the next layer. */
  beginLayer(): void {
    this.#layer++;
  }

  /** Adds an inode at a path without "." and "" parts. */
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

  /** Adds a name to the inode of `target`. Returns false if there is no such file. */
  link(path: readonly ByteString[], target: readonly ByteString[]): boolean {
    const name = path.at(-1);
    const inode = this.#follow(target);
    if (inode?.inode === undefined || inode.children !== undefined || name === undefined) return false;
    this.#folderOf(path).set(name, { inode: inode.inode, children: undefined, layer: this.#layer });
    return true;
  }

  /** Hides the entries of earlier layers at the path. */
  whiteout(path: readonly ByteString[]): void {
    const name = path.at(-1);
    const folder = this.find(path.slice(0, -1))?.children;
    const node = name === undefined ? undefined : folder?.get(name);
    if (name === undefined || node === undefined) return;
    if (!this.#keepOwn(node)) folder?.delete(name);
  }

  /** Hides the entries of earlier layers in the folder. */
  opaque(path: readonly ByteString[]): void {
    const children = this.find(path)?.children ?? new Map<ByteString, SourceNode>();
    for (const [name, child] of children) if (!this.#keepOwn(child)) children.delete(name);
  }

  /** Returns the node at the path, without following links. */
  find(path: readonly ByteString[]): SourceNode | undefined {
    let node: SourceNode | undefined = this.root;
    for (const name of path) node = node?.children?.get(name);
    return node;
  }

  /** Returns the node at the path, following links in its parent. */
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

  /** Removes nodes of earlier layers; returns false if none of this layer remain. */
  #keepOwn(node: SourceNode): boolean {
    for (const [name, child] of node.children ?? []) if (!this.#keepOwn(child)) node.children?.delete(name);
    if (node.layer === this.#layer) return true;
    if (node.children === undefined || node.children.size === 0) return false;
    node.inode = undefined;
    return true;
  }

  /** Replaces a link of an earlier layer by a folder, since each layer is unpacked on its own. */
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
