/**
 * The tree that the entries of a layer build up, before it is written as the layer's bootstrap.
 *
 * A later entry of the same name replaces the earlier one, as when unpacking the tar: a directory gets new attributes
 * beside its extended ones and keeps its contents, anything else is removed with everything below it. A folder that only
 * occurs within a path gets default attributes and {@link IMPLIED_XATTR} until it has an entry of its own. Hard links are
 * further names of one inode, describe it anew, and outlive its first name. Symbolic links within a path are followed,
 * but never out of the tree.
 *
 * Paths are arrays of {@link ByteString}s, split at slashes.
 *
 * @module
 */
import { S } from "../../../../ffi/sys_stat.ts";
import { type ByteString, equalBytes, fromByteString } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { DROP_INTERVAL, type ImageMemory } from "../../../rafs/memory/image_memory.ts";
import type { ChunkLocation } from "../../../rafs/v6/writer.ts";
import { PathResolver } from "../../tree/path_resolver.ts";
import type { RafsWriter } from "../format/bootstrap_writer.ts";
import { InodeTable, type PlacedInode, type PlaceRange } from "./inode_table.ts";

/** Maximum length of a name in bytes. */
const NAME_MAX = 255;

/**
 * Marks a folder without an entry: its attributes come from a lower layer, if any has it. Not used in merged images.
 */
const IMPLIED_XATTR = fromByteString("trusted.nydus-gd.implied");

/** Whether an attribute's name is {@link IMPLIED_XATTR}. */
export function isImpliedMark(name: Uint8Array): boolean {
  return equalBytes(name, IMPLIED_XATTR);
}

/** Attributes of a folder without an entry. */
const IMPLIED_FOLDER: PlacedInode = {
  mode: S.IFDIR | 0o755,
  uid: 0,
  gid: 0,
  mtime: 0,
  mtimeNsec: 0,
  xattrs: [[IMPLIED_XATTR, fromByteString("y")]],
};

/** Node of the tree: a folder, or the number of any other inode. */
type Node = Folder | number;

interface Folder {
  inode: number;
  readonly children: Map<ByteString, Node>;
}

/** For inodes without chunks. */
const NO_PLACES: PlaceRange = { first: 0, count: 0 };

/** A folder and the path by which it was found: all but the last name of `path`. */
interface FoundFolder {
  readonly path: readonly ByteString[];
  readonly children: Map<ByteString, Node>;
}

/** Tree of names and inodes of one layer. */
export class LayerTree {
  readonly #inodes = new InodeTable();
  /** Shared inode of folders without an entry. */
  readonly #implied = this.#inodes.push(IMPLIED_FOLDER, NO_PLACES);
  readonly #root: Folder = { inode: this.#implied, children: new Map() };
  /** Found last; undefined once a name was replaced, which may have been on its path. */
  #found: FoundFolder | undefined;

  /**
   * Creates a new inode at the path.
   *
   * @throws {NydusGdError} "invalid-image" for an impossible path
   */
  put(path: readonly ByteString[], spec: PlacedInode, places: PlaceRange): void {
    const isFolder = (spec.mode & S.IFMT) === S.IFDIR;
    const name = path.at(-1);
    if (name === undefined) {
      if (!isFolder) throw impossible(path, "the root is not a folder");
      this.#describeFolder(this.#root, spec, places);
      return;
    }
    const folder = this.#folderOf(path);
    const known = folder.get(checkName(path, name));
    if (isFolder && isFolderNode(known)) return this.#describeFolder(known, spec, places);
    const inode = this.#inodes.push(spec, places);
    this.#set(folder, name, isFolder ? { inode, children: new Map() } : inode);
  }

  /**
   * Adds `path` as another name of the inode at `target`, which gets the attributes of `spec`, as when unpacking.
   *
   * @throws {NydusGdError} "invalid-image" if the target does not exist or is a folder
   */
  link(path: readonly ByteString[], target: readonly ByteString[], spec: PlacedInode): void {
    const inode = this.#find(target);
    const shown = `"${showPath(target)}"`;
    if (inode === undefined) throw impossible(path, `it is a hard link to ${shown}, which is not there`);
    if (isFolderNode(inode)) throw impossible(path, `it is a hard link to ${shown}, which is a folder`);
    const name = path.at(-1);
    if (name === undefined) throw impossible(path, "the root is not a folder");
    this.#set(this.#folderOf(path), checkName(path, name), inode);
    this.#inodes.describe(inode, spec);
  }

  /**
   * Moves all inodes and names to the writer, folders before their contents. The tree is empty afterwards.
   *
   * @param placeOf resolves the place of a chunk
   * @param memory for temporary data
   */
  moveTo(writer: RafsWriter, placeOf: (place: number) => ChunkLocation, memory: ImageMemory): void {
    writer.tree.reserve(this.#inodes.count);
    const add = (inode: number) => {
      const number = writer.addInode(this.#inodes.specOf(inode, placeOf));
      if (number % DROP_INTERVAL === 0) memory.dropPages();
      return number;
    };
    /** Number in the writer by inode; 0 if it has none yet. The root's number never belongs to an inode below it. */
    const numbers = new Uint32Array(this.#inodes.count);
    const folders = [{ folder: this.#root, directory: add(this.#root.inode) }];
    for (const { folder, directory } of folders) { // grows during the loop
      for (const [name, node] of folder.children) {
        const isFolder = isFolderNode(node);
        const number = isFolder ? add(node.inode) : numbers[node] || add(node);
        if (isFolder) folders.push({ folder: node, directory: number });
        else numbers[node] = number;
        writer.addEntry(directory, fromByteString(name), number);
      }
      folder.children.clear();
    }
    this.#inodes.clear();
  }

  #describeFolder(folder: Folder, spec: PlacedInode, places: PlaceRange): void {
    if (folder.inode === this.#implied) folder.inode = this.#inodes.push(spec, places);
    else this.#inodes.describe(folder.inode, spec);
  }

  #find(path: readonly ByteString[]): Node | undefined {
    const name = path.at(-1);
    if (name === undefined) return this.#root;
    const folder = this.#resolver().resolve(path.slice(0, -1));
    return isFolderNode(folder) ? folder.children.get(name) : undefined;
  }

  #set(folder: Map<ByteString, Node>, name: ByteString, node: Node): void {
    if (folder.has(name)) this.#found = undefined;
    folder.set(name, node);
  }

  /** Contents of the folder that contains the path; missing folders are created. */
  #folderOf(path: readonly ByteString[]): Map<ByteString, Node> {
    if (this.#found !== undefined && isSameFolder(this.#found.path, path)) return this.#found.children;
    const resolver = this.#resolver();
    for (const name of path.slice(0, -1)) {
      const { children } = resolver.folder;
      const node = children.get(checkName(path, name));
      const next: Node = node ?? { inode: this.#implied, children: new Map() };
      if (node === undefined) children.set(name, next);
      if (!resolver.enter(next)) throw impossible(path, `"${showPath([name])}" is not a folder`);
    }
    const { children } = resolver.folder;
    this.#found = { path, children };
    return children;
  }

  #resolver(): PathResolver<Node, Folder> {
    return new PathResolver<Node, Folder>(this.#root, {
      isFolder: isFolderNode,
      childOf: ({ children }, name) => children.get(name),
      targetOf: (node) => isFolderNode(node) ? undefined : this.#inodes.targetOf(node),
    });
  }
}

function isFolderNode(node: Node | undefined): node is Folder {
  return typeof node === "object";
}

/** Whether the two paths differ in their last names only. */
function isSameFolder(a: readonly ByteString[], b: readonly ByteString[]): boolean {
  if (a.length !== b.length) return false;
  for (let k = a.length - 2; k >= 0; k--) if (a[k] !== b[k]) return false; // most differ at the end
  return true;
}

function checkName(path: readonly ByteString[], name: ByteString): ByteString {
  if (name === "..") throw impossible(path, `".." leads out of its folder`);
  if (name.length > NAME_MAX) throw impossible(path, `a name of ${name.length} bytes exceeds ${NAME_MAX}`);
  return name;
}

function impossible(path: readonly ByteString[], state: string): NydusGdError {
  return new NydusGdError("invalid-image", `Cannot convert "${showPath(path)}": ${state}`);
}

/** A path for messages, truncated if long. */
export function showPath(path: readonly ByteString[]): string {
  const text = new TextDecoder().decode(fromByteString(path.join("/")));
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
