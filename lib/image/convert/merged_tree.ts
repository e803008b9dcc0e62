/**
 * The tree that layers make together: which inode of which layer is behind each name.
 *
 * A later layer's folder is merged into an earlier one's and gives it its attributes (unless it is only part of a name
 * there); anything else replaces. In layers with whiteouts, `.wh.NAME` takes NAME of the layers below away,
 * `.wh..wh..opq` all that they have in its folder, wherever among the folder's entries they stand; other `.wh..wh.*`
 * are AUFS's own and left out. Source: OCI image-spec v1.1 layer.md.
 *
 * Memory: 90 bytes a name.
 *
 * @module
 */
import { parseWhiteout } from "../../archive/whiteout.ts";
import { type ByteString, equalBytes, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { GrowingColumn } from "../../rafs/growing.ts";
import { DT_DIR } from "../../rafs/inode_mode.ts";
import { IMPLIED_XATTR } from "./layer_tree.ts";

/** A layer as it is merged. */
export interface MergedLayer {
  readonly tree: Bootstrap;
  /** False: names that look like whiteouts are files. */
  readonly hasWhiteouts: boolean;
}

/** A folder of the merged tree. */
export interface MergedFolder {
  /** Position of the layer whose inode it is. */
  layer: number;
  ino: number;
  readonly children: Map<ByteString, MergedNode>;
}

/** What is behind a name: a folder, or the number of anything else, for {@link MergedTree}. */
export type MergedNode = MergedFolder | number;

/** See the module. */
export class MergedTree {
  readonly root: MergedFolder;
  readonly #layer = GrowingColumn.u32();
  readonly #ino = GrowingColumn.doubles();

  /**
   * Merges layers, the lowest first.
   *
   * @throws {NydusGdError} "invalid-image" for a whiteout of no name, as RafsError for damage
   */
  constructor(layers: readonly MergedLayer[]) {
    this.root = { layer: 0, ino: layers[0]?.tree.rootIno ?? 0, children: new Map() };
    layers.forEach((layer, number) => {
      const { rootIno } = layer.tree;
      if (!isImplied(layer.tree, rootIno)) Object.assign(this.root, { layer: number, ino: rootIno });
      this.#mergeFolder(layer, number, rootIno);
    });
  }

  /** Whose inode is behind a number. */
  layerOf(node: number): number {
    return this.#layer.at(node);
  }

  /** The inode in its layer. */
  inoOf(node: number): number {
    return this.#ino.at(node);
  }

  #mergeFolder(layer: MergedLayer, number: number, start: number): void {
    const pending: { ino: number; into: MergedFolder }[] = [{ ino: start, into: this.root }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { children } = next.into;
      const entries: { name: ByteString; ino: number; isFolder: boolean }[] = [];
      layer.tree.readdir(next.ino, 0, (name, ino, type) => {
        if (!layer.hasWhiteouts || !obeyWhiteout(name, children)) {
          entries.push({ name: toByteString(name), ino, isFolder: type === DT_DIR });
        }
        return true;
      });
      for (const { name, ino, isFolder } of entries) {
        if (!isFolder) {
          this.#layer.push(number);
          children.set(name, this.#ino.push(ino));
          continue;
        }
        let folder = children.get(name);
        if (typeof folder !== "object") children.set(name, folder = { layer: number, ino, children: new Map() });
        else if (!isImplied(layer.tree, ino)) Object.assign(folder, { layer: number, ino });
        pending.push({ ino, into: folder });
      }
    }
  }
}

/** Whether the name was a whiteout. Children are still those of the layers below. */
function obeyWhiteout(name: Uint8Array, children: Map<ByteString, MergedNode>): boolean {
  const whiteout = parseWhiteout(name);
  switch (whiteout.kind) {
    case "none":
      return false;
    case "meta":
      return true;
    case "opaque":
      children.clear();
      return true;
    case "whiteout": {
      const gone = toByteString(whiteout.name);
      if (gone === "" || gone === "." || gone === "..") {
        throw new NydusGdError(
          "invalid-image",
          `Cannot convert: whiteout of ${JSON.stringify(gone)}, which is no name`,
        );
      }
      children.delete(gone);
      return true;
    }
  }
}

/** Whether a folder is only part of a name in its layer. */
function isImplied(tree: Bootstrap, ino: number): boolean {
  if (!tree.hasXattrs) return false;
  for (const [name] of tree.xattrs(ino)) if (equalBytes(name, IMPLIED_XATTR)) return true;
  return false;
}
