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
import { PathResolver } from "../tree/path_resolver.ts";

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

/** What the entry of a hard link says of its file. */
export type LinkAttributes = Pick<SourceInode, "mode" | "uid" | "gid" | "mtime" | "mtimeNsec" | "xattrs">;

/** A name in the tree. */
export interface SourceNode {
  /** Undefined for a folder that occurs only in paths of other entries: its attributes are unspecified. */
  inode: SourceInode | undefined;
  /** The layer that {@link inode} is from. */
  inodeLayer: number;
  /** Undefined if not a folder. */
  children: Map<ByteString, SourceNode> | undefined;
  /** The last layer that contains it, if only within a path. */
  layer: number;
}

/** Stands for the names in a folder. */
const OPAQUE = "";

interface SourceFolder extends SourceNode {
  children: Map<ByteString, SourceNode>;
}

/** A tree built from one or more layers. */
export class SourceTree {
  readonly root: SourceFolder = { inode: undefined, inodeLayer: 0, children: new Map(), layer: 0 };
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
      if (isFolder) this.root.inode = describedAnew(this.root.inode, inode);
      return;
    }
    const folder = this.#folderOf(path);
    const known = folder.get(name);
    const children = isFolder ? known?.children ?? new Map() : undefined;
    const isAgain = isFolder && known?.children !== undefined && known.inodeLayer === this.#layer;
    const described = isAgain ? describedAnew(known.inode, inode) : inode;
    folder.set(name, { inode: described, inodeLayer: this.#layer, children, layer: this.#layer });
  }

  /**
   * Adds a name to the inode of `target`, which gets these attributes. Returns false if there is no such file.
   *
   * @param attributes extended ones are added; the mode is without type
   */
  link(path: readonly ByteString[], target: readonly ByteString[], attributes: LinkAttributes): boolean {
    const name = path.at(-1);
    const inode = this.#follow(target);
    if (inode?.inode === undefined || inode.children !== undefined || name === undefined) return false;
    const { mode, xattrs } = inode.inode;
    const type = mode & S.IFMT;
    Object.assign(inode.inode, attributes, {
      mode: type | (type === S.IFLNK ? mode & ~S.IFMT : attributes.mode),
      xattrs: new Map([...xattrs, ...attributes.xattrs]),
    });
    const [layer, inodeLayer] = [this.#layer, this.#layer];
    this.#folderOf(path).set(name, { inode: inode.inode, inodeLayer, children: undefined, layer });
    return true;
  }

  /** Hides the entries of earlier layers at the path. Its folder is made as for any other entry. */
  whiteout(path: readonly ByteString[]): void {
    const name = path.at(-1);
    if (name === undefined) return;
    const folder = this.#folderOf(path);
    const node = folder.get(name);
    if (node !== undefined && !this.#keepOwn(node)) folder.delete(name);
  }

  /** Hides the entries of earlier layers in the folder, which is made if it is missing. */
  opaque(path: readonly ByteString[]): void {
    this.#keepOwnIn(this.#folderOf([...path, OPAQUE]));
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

  /** Removes what earlier layers have; returns false if that is all. Folders on the way to own entries are own. */
  #keepOwn(node: SourceNode): boolean {
    if (node.layer !== this.#layer) return false;
    if (node.inodeLayer !== this.#layer) node.inode = undefined;
    if (node.children !== undefined) this.#keepOwnIn(node.children);
    return true;
  }

  #keepOwnIn(children: Map<ByteString, SourceNode>): void {
    for (const [name, child] of children) if (!this.#keepOwn(child)) children.delete(name);
  }

  /** Replaces a link of an earlier layer by a folder, since each layer is unpacked on its own. */
  #folderOf(path: readonly ByteString[]): Map<ByteString, SourceNode> {
    const resolver = this.#resolver();
    for (const name of path.slice(0, -1)) {
      const { children } = resolver.folder;
      const node = children.get(name);
      const isKept = node?.children !== undefined || node?.layer === this.#layer;
      if (node !== undefined && isKept && resolver.enter(node)) {
        resolver.folder.layer = this.#layer;
        continue;
      }
      const [layer, inodeLayer] = [this.#layer, this.#layer];
      const made: SourceFolder = { inode: undefined, inodeLayer, children: new Map(), layer };
      children.set(name, made);
      resolver.enter(made);
    }
    return resolver.folder.children;
  }
}

/** A folder that its layer names twice: extended attributes are added. */
function describedAnew(before: SourceInode | undefined, inode: SourceInode): SourceInode {
  return { ...inode, xattrs: new Map([...before?.xattrs ?? [], ...inode.xattrs]) };
}
