/**
 * Walks the names of merged layers, and tells which inode of which layer each name refers to.
 *
 * A folder of a higher layer is merged with the lower one's and determines its attributes (unless it only occurs within
 * a path there); anything else replaces. In layers with whiteouts, `.wh.NAME` removes NAME of the layers below and
 * `.wh..wh..opq` everything they have in its folder, wherever the whiteout is listed. Other `.wh..wh.*` names belong to
 * AUFS and are left out. Source: OCI image-spec v1.1 layer.md.
 *
 * Memory: the folders of one depth, and the names of one folder that occur in several layers. The walk fails on damage,
 * and on a layer that presents the same bytes again and again (rafs/tree_budget.ts).
 *
 * @module
 */
import { parseWhiteout } from "../../archive/whiteout.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { DT_DIR } from "../../rafs/inode_mode.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { PATH_MAX } from "../../rafs/walk.ts";
import { isImpliedMark } from "./layer_tree.ts";

/** A layer to merge. */
export interface MergedLayer {
  readonly tree: Bootstrap;
  /** If false, names that look like whiteouts are ordinary files. */
  readonly hasWhiteouts: boolean;
}

/** A name of the merged tree and its inode. */
export interface MergedName<Above> {
  /** Position of the layer that has the inode. */
  readonly layer: number;
  /** Inode number in its layer. */
  readonly ino: number;
  /** Empty for the root; a view, valid only during the visit. */
  readonly name: Uint8Array;
  /** Return value of the visit of its folder; undefined for the root. */
  readonly parent: Above | undefined;
}

/** An inode of a layer. */
interface LayerInode {
  readonly layer: number;
  readonly ino: number;
}

/** A folder still to be visited. */
interface Folder<Above> {
  readonly name: ByteString;
  readonly parent: Above | undefined;
  /** Length of its path with a trailing but no leading slash; 0 for the root. */
  readonly pathBytes: number;
  /** The folder's inode in each layer that has it, lowest first, without those hidden by a higher one. */
  readonly parts: LayerInode[];
}

/** What several layers have under one name: the parts of a folder, or the inode of anything else. */
type Merged = LayerInode[] | LayerInode;

/**
 * Visits every name of `layers` (lowest first): folders before their contents, subfolders after files. The order is
 * deterministic.
 *
 * @throws {NydusGdError} "invalid-image" for a whiteout without a name, as RafsError for damage; "unsupported" for a
 * path that is too long for Linux
 */
export function eachName<Above>(layers: readonly MergedLayer[], visit: (name: MergedName<Above>) => Above): void {
  new NameWalk(layers, visit).run();
}

class NameWalk<Above> {
  readonly #budgets: readonly TreeBudget[];
  /** Folders of the next depth. */
  #found: Folder<Above>[] = [];

  constructor(
    private readonly layers: readonly MergedLayer[],
    private readonly visit: (name: MergedName<Above>) => Above,
  ) {
    this.#budgets = layers.map(({ tree }) => new TreeBudget(tree.byteLength));
  }

  run(): void {
    const parts = this.layers.map(({ tree }, layer) => ({ layer, ino: tree.rootIno }));
    for (let depth = [{ name: "", parent: undefined, pathBytes: 0, parts } as Folder<Above>]; depth.length > 0;) {
      for (const folder of depth) this.#folder(folder);
      depth = this.#found;
      this.#found = [];
    }
  }

  #folder({ name, parent, pathBytes, parts }: Folder<Above>): void {
    const { layer, ino } = this.#shownOf(parts);
    const above = this.visit({ layer, ino, name: fromByteString(name), parent });
    const [only, ...more] = parts;
    if (only !== undefined && more.length === 0) {
      this.#list(only, () => {}, (name, child, isFolder) => {
        const end = endOf(pathBytes, name);
        if (isFolder) this.#found.push({ name: toByteString(name), parent: above, pathBytes: end + 1, parts: [child] });
        else this.visit({ ...child, name, parent: above });
      });
      return;
    }
    for (const [name, merged] of this.#merge(parts)) {
      const end = endOf(pathBytes, name);
      if (Array.isArray(merged)) this.#found.push({ name, parent: above, pathBytes: end + 1, parts: merged });
      else this.visit({ ...merged, name: fromByteString(name), parent: above });
    }
  }

  /** The part that determines the folder's attributes. */
  #shownOf(parts: readonly LayerInode[]): LayerInode {
    return parts.findLast(({ layer, ino }) => !isImplied(this.#treeOf(layer), ino)) ?? parts[0] as LayerInode;
  }

  #merge(parts: readonly LayerInode[]): Map<ByteString, Merged> {
    const children = new Map<ByteString, Merged>();
    for (const part of parts) {
      const own: (readonly [ByteString, LayerInode, boolean])[] = [];
      const hide = (name: ByteString | undefined) => name === undefined ? children.clear() : children.delete(name);
      this.#list(part, hide, (name, child, isFolder) => own.push([toByteString(name), child, isFolder]));
      for (const [name, child, isFolder] of own) {
        const known = children.get(name);
        if (!isFolder) children.set(name, child);
        else if (Array.isArray(known)) known.push(child);
        else children.set(name, [child]);
      }
    }
    return children;
  }

  /** @param hide called for each whiteout with the name it hides in the layers below; undefined hides all names */
  #list(
    { layer, ino }: LayerInode,
    hide: (name: ByteString | undefined) => void,
    add: (name: Uint8Array, child: LayerInode, isFolder: boolean) => void,
  ): void {
    const { tree, hasWhiteouts } = this.layers[layer] as MergedLayer;
    const budget = this.#budgets[layer] as TreeBudget;
    tree.readdir(ino, 0, (name, child, type) => {
      budget.takeEntry(ino);
      if (!hasWhiteouts || !obeyWhiteout(name, hide)) add(name, { layer, ino: child }, type === DT_DIR);
      return true;
    });
  }

  #treeOf(layer: number): Bootstrap {
    return (this.layers[layer] as MergedLayer).tree;
  }
}

/** Length of the path of a name in a folder. @throws {NydusGdError} "unsupported" if it exceeds what readers accept */
function endOf(folderBytes: number, name: Uint8Array | ByteString): number {
  const end = folderBytes + name.length;
  if (end <= PATH_MAX) return end;
  const shown = JSON.stringify(new TextDecoder().decode(typeof name === "string" ? fromByteString(name) : name));
  throw new NydusGdError("unsupported", `Cannot convert ${shown}: its path has ${end} bytes, at most ${PATH_MAX}`);
}

/** Applies the name if it is a whiteout; returns whether it was one. */
function obeyWhiteout(name: Uint8Array, hide: (name: ByteString | undefined) => void): boolean {
  const whiteout = parseWhiteout(name);
  if (whiteout.kind === "none") return false;
  if (whiteout.kind === "opaque") hide(undefined);
  if (whiteout.kind !== "whiteout") return true;
  const gone = toByteString(whiteout.name);
  if (gone === "" || gone === "." || gone === "..") {
    const state = `whiteout of ${JSON.stringify(gone)}, which is not a valid name`;
    throw new NydusGdError("invalid-image", `Cannot convert: ${state}`);
  }
  hide(gone);
  return true;
}

/** Whether a folder only occurs within a path in its layer. */
function isImplied(tree: Bootstrap, ino: number): boolean {
  if (!tree.hasXattrs) return false;
  for (const [name] of tree.xattrs(ino)) if (isImpliedMark(name)) return true;
  return false;
}
