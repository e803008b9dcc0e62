/**
 * The tree that layers make together: which inode of which layer is behind each name.
 *
 * A later layer's folder is merged into an earlier one's and gives it its attributes (unless it is only part of a name
 * there); anything else replaces. In layers with whiteouts, `.wh.NAME` takes NAME of the layers below away,
 * `.wh..wh..opq` all that they have in its folder, wherever among the folder's entries they stand; other `.wh..wh.*`
 * are AUFS's own and left out. Source: OCI image-spec v1.1 layer.md.
 *
 * Memory: 250 bytes a name.
 *
 * @module
 */
import { parseWhiteout } from "../../archive/whiteout.ts";
import { type ByteString, equalBytes, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { DT_DIR } from "../../rafs/inode_mode.ts";
import { IMPLIED_XATTR } from "./layer_tree.ts";

/** A layer as it is merged. */
export interface MergedLayer {
  readonly tree: Bootstrap;
  /** False: names that look like whiteouts are files. */
  readonly hasWhiteouts: boolean;
}

/** What is behind a name. */
export interface MergedNode {
  /** Position of the layer whose inode it is. */
  layer: number;
  ino: number;
  /** Of a folder. */
  readonly children: Map<ByteString, MergedNode> | undefined;
}

interface MergedFolder extends MergedNode {
  readonly children: Map<ByteString, MergedNode>;
}

/**
 * Merges layers, the lowest first.
 *
 * @throws {NydusGdError} "invalid-image" for a whiteout of no name, as RafsError for damage
 */
export function mergeTrees(layers: readonly MergedLayer[]): MergedNode {
  const root: MergedFolder = { layer: 0, ino: layers[0]?.tree.rootIno ?? 0, children: new Map() };
  layers.forEach((layer, number) => {
    const { rootIno } = layer.tree;
    if (!isImplied(layer.tree, rootIno)) Object.assign(root, { layer: number, ino: rootIno });
    mergeFolder(layer, number, rootIno, root);
  });
  return root;
}

function mergeFolder(layer: MergedLayer, number: number, start: number, into: MergedFolder): void {
  const pending: { ino: number; into: MergedFolder }[] = [{ ino: start, into }];
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
      const known = children.get(name);
      if (!isFolder) {
        children.set(name, { layer: number, ino, children: undefined });
        continue;
      }
      let folder: MergedFolder;
      if (known !== undefined && hasChildren(known)) {
        folder = known;
        if (!isImplied(layer.tree, ino)) Object.assign(folder, { layer: number, ino });
      } else {
        children.set(name, folder = { layer: number, ino, children: new Map() });
      }
      pending.push({ ino, into: folder });
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

function hasChildren(node: MergedNode): node is MergedFolder {
  return node.children !== undefined;
}

/** Whether a folder is only part of a name in its layer. */
function isImplied(tree: Bootstrap, ino: number): boolean {
  if (!tree.hasXattrs) return false;
  for (const [name] of tree.xattrs(ino)) if (equalBytes(name, IMPLIED_XATTR)) return true;
  return false;
}
