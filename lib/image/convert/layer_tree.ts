/**
 * The tree that the entries of a layer make, one after the other, before it is written as the layer's bootstrap.
 *
 * A later entry of a name replaces the earlier one, as it does when the tar is unpacked: a directory gets new attributes
 * and keeps what is in it, anything else gives way with all below it. A folder that is only part of a name gets default
 * attributes and {@link IMPLIED_XATTR} until it is named itself. Hard links are further names of one inode and outlive
 * its first name. A symbolic link on the way to a name is followed, and never out of the tree.
 *
 * Paths are {@link ByteString}s, parts split at slashes.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { type ByteString, equalBytes, fromByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { LET_GO_AFTER, ORDINARY_MEMORY } from "../../rafs/image_memory.ts";
import type { ChunkPlace } from "../../rafs/v6/writer.ts";
import { PathResolver } from "../path_resolver.ts";
import type { BootstrapWriter } from "./bootstrap_writer.ts";
import { InodeTable, type PlacedInode, type PlaceRange } from "./inode_table.ts";

/** Bytes of a name. */
const NAME_MAX = 255;

/** On a folder that no entry names: a layer below has its attributes, if any has. Not in merged images. */
const IMPLIED_XATTR = fromByteString("trusted.nydus-gd.implied");

/** Whether an attribute's name is {@link IMPLIED_XATTR}. */
export function isImpliedMark(name: Uint8Array): boolean {
  return equalBytes(name, IMPLIED_XATTR);
}

/** What a folder that no entry names gets. */
const IMPLIED_FOLDER: PlacedInode = {
  mode: S.IFDIR | 0o755,
  uid: 0,
  gid: 0,
  mtime: 0,
  mtimeNsec: 0,
  xattrs: [[IMPLIED_XATTR, fromByteString("y")]],
};

/** What is at a name: a folder, or the number of any other inode. */
type Node = Folder | number;

interface Folder {
  inode: number;
  readonly children: Map<ByteString, Node>;
}

/** What no chunk belongs to. */
const NO_PLACES: PlaceRange = { first: 0, count: 0 };

/** See the module. */
export class LayerTree {
  readonly #inodes = new InodeTable();
  /** The inode of folders that no entry names. */
  readonly #implied = this.#inodes.push(IMPLIED_FOLDER, NO_PLACES);
  readonly #root: Folder = { inode: this.#implied, children: new Map() };

  /**
   * Gives the path an inode of its own.
   *
   * @throws {NydusGdError} "invalid-image" for a path that cannot be
   */
  put(path: readonly ByteString[], spec: PlacedInode, places: PlaceRange): void {
    const isFolder = (spec.mode & S.IFMT) === S.IFDIR;
    const name = path.at(-1);
    if (name === undefined) {
      if (!isFolder) throw impossible(path, "the root is no folder");
      this.#root.inode = this.#inodes.push(spec, places);
      return;
    }
    const folder = this.#folderOf(path);
    const known = folder.get(checkName(path, name));
    const inode = this.#inodes.push(spec, places);
    if (!isFolder) folder.set(name, inode);
    else if (isFolderNode(known)) known.inode = inode;
    else folder.set(name, { inode, children: new Map() });
  }

  /**
   * Gives the inode of `target` the name `path` too.
   *
   * @throws {NydusGdError} "invalid-image" when there is no such target, or it is a folder
   */
  link(path: readonly ByteString[], target: readonly ByteString[]): void {
    const inode = this.#find(target);
    const shown = `"${showPath(target)}"`;
    if (inode === undefined) throw impossible(path, `it is a hard link to ${shown}, which is not there`);
    if (isFolderNode(inode)) throw impossible(path, `it is a hard link to ${shown}, which is a folder`);
    const name = path.at(-1);
    if (name === undefined) throw impossible(path, "the root is no folder");
    this.#folderOf(path).set(checkName(path, name), inode);
  }

  /**
   * Adds every inode and name, folders before what is in them. The tree has neither afterwards.
   *
   * @param placeOf where the chunk is whose place it is given
   * @param memory of what that looks at
   */
  moveTo(writer: BootstrapWriter, placeOf: (place: number) => ChunkPlace, memory = ORDINARY_MEMORY): void {
    const add = (inode: number) => {
      const number = writer.addInode(this.#inodes.specOf(inode, placeOf));
      if (number % LET_GO_AFTER === 0) memory.letGo();
      return number;
    };
    /** By inode, its number in the writer; 0: it has none. That of the root is nobody's below it. */
    const numbers = new Uint32Array(this.#inodes.count);
    const folders = [{ folder: this.#root, directory: add(this.#root.inode) }];
    for (const { folder, directory } of folders) { // grows meanwhile
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

  #find(path: readonly ByteString[]): Node | undefined {
    const name = path.at(-1);
    if (name === undefined) return this.#root;
    const folder = this.#resolver().resolve(path.slice(0, -1));
    return isFolderNode(folder) ? folder.children.get(name) : undefined;
  }

  /** What the folder has that holds the path; it is made with all above it where it is missing. */
  #folderOf(path: readonly ByteString[]): Map<ByteString, Node> {
    const resolver = this.#resolver();
    for (const name of path.slice(0, -1)) {
      const { children } = resolver.folder;
      const node = children.get(checkName(path, name));
      const next: Node = node ?? { inode: this.#implied, children: new Map() };
      if (node === undefined) children.set(name, next);
      if (!resolver.enter(next)) throw impossible(path, `"${showPath([name])}" is no folder`);
    }
    return resolver.folder.children;
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

function checkName(path: readonly ByteString[], name: ByteString): ByteString {
  if (name === "..") throw impossible(path, `".." leads out of its folder`);
  if (name.length > NAME_MAX) throw impossible(path, `a name of ${name.length} bytes exceeds ${NAME_MAX}`);
  return name;
}

function impossible(path: readonly ByteString[], state: string): NydusGdError {
  return new NydusGdError("invalid-image", `Cannot convert "${showPath(path)}": ${state}`);
}

/** A path for messages, cut where it is long. */
export function showPath(path: readonly ByteString[]): string {
  const text = new TextDecoder().decode(fromByteString(path.join("/")));
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
