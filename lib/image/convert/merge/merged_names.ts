/**
 * Walks the names of merged layers, and tells which inode of which layer each name refers to.
 *
 * A folder of a higher layer is merged with the lower one's and determines its attributes (unless it only occurs within
 * a path there); anything else replaces. In layers with whiteouts, `.wh.NAME` removes NAME of the layers below and
 * `.wh..wh..opq` everything they have in its folder, wherever the whiteout is listed. Other `.wh..wh.*` names belong to
 * AUFS and are left out. Source: OCI image-spec v1.1 layer.md.
 *
 * Memory: the folders of one depth, and the names of one folder that is in several layers. A name of a folder that is in
 * one layer, as most are, costs no object. The walk fails on damage, and on a layer that presents the same bytes again
 * and again (rafs/tree_budget.ts).
 *
 * @module
 */
import { parseWhiteout, type WhiteoutName } from "../../../archive/whiteout.ts";
import { type ByteString, toByteString } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { DOT } from "../../../base/path_bytes.ts";
import type { Bootstrap } from "../../../rafs/bootstrap.ts";
import { DT_DIR } from "../../../rafs/format/inode_mode.ts";
import { TreeBudget } from "../../../rafs/tree_budget.ts";
import { PATH_MAX } from "../../../rafs/walk.ts";
import { isImpliedMark } from "../layer/layer_tree.ts";

/** A layer to merge. */
export interface MergedLayer {
  readonly tree: Bootstrap;
  /** For messages: "layer sha256:…". */
  readonly what: string;
  /** If false, names that look like whiteouts are ordinary files. */
  readonly hasWhiteouts: boolean;
}

/** A name of the merged tree and its inode. */
export interface MergedName {
  /** Position of the layer that has the inode. */
  layer: number;
  /** Inode number in its layer. */
  ino: number;
  /** The name is the bytes `[start, end)` of this layer's tree; empty for the root. */
  start: number;
  end: number;
  isFolder: boolean;
  /** Return value of the visit of its folder; undefined for the root. */
  parent: number | undefined;
}

/** A name of one layer and its inode. */
type LayerName = Readonly<Pick<MergedName, "layer" | "ino" | "start" | "end">>;

/** A folder still to be visited. */
interface Folder {
  readonly parent: number | undefined;
  /** Length of its path with a trailing but no leading slash; 0 for the root. */
  readonly pathBytes: number;
  /** The folder in each layer that has it, lowest first, without those hidden by a higher one. */
  readonly parts: LayerName[];
}

/** What several layers have under one name: the parts of a folder, or anything else. */
type Merged = LayerName[] | LayerName;

/**
 * Visits every name of `layers` (lowest first): folders before their contents, subfolders after files. The order is
 * deterministic.
 *
 * @param visit gets the same object every time; what it returns for a folder is the parent of the folder's names
 * @throws {NydusGdError} "invalid-image" for a whiteout without a name, as RafsError for damage; "unsupported" for a
 * path that is too long for Linux
 */
export function eachName(layers: readonly MergedLayer[], visit: (name: Readonly<MergedName>) => number): void {
  new NameWalk(layers, visit).run();
}

class NameWalk {
  readonly #budgets: readonly TreeBudget[];
  readonly #name: MergedName = { layer: 0, ino: 0, start: 0, end: 0, isFolder: true, parent: undefined };
  /** Folders of the next depth. */
  #found: Folder[] = [];

  constructor(
    private readonly layers: readonly MergedLayer[],
    private readonly visit: (name: Readonly<MergedName>) => number,
  ) {
    this.#budgets = layers.map(({ tree }) => new TreeBudget(tree.byteLength));
  }

  run(): void {
    const parts = this.layers.map(({ tree }, layer) => ({ layer, ino: tree.rootIno, start: 0, end: 0 }));
    for (let depth: Folder[] = [{ parent: undefined, pathBytes: 0, parts }]; depth.length > 0;) {
      for (const folder of depth) this.#folder(folder);
      depth = this.#found;
      this.#found = [];
    }
  }

  #folder({ parent, pathBytes, parts }: Folder): void {
    const { layer, ino, start, end } = this.#shownOf(parts);
    const above = this.#visit(layer, ino, start, end, true, parent);
    if (parts.length === 1) return this.#single(layer, ino, above, pathBytes);
    for (const merged of this.#merge(parts).values()) {
      const name = Array.isArray(merged) ? merged[0] as LayerName : merged;
      const pathEnd = this.#pathEnd(pathBytes, name.layer, name.start, name.end);
      if (Array.isArray(merged)) this.#found.push({ parent: above, pathBytes: pathEnd + 1, parts: merged });
      else this.#visit(name.layer, name.ino, name.start, name.end, false, above);
    }
  }

  /** Visits the names of a folder that is in one layer. */
  #single(layer: number, folder: number, above: number, pathBytes: number): void {
    this.#list(layer, folder, () => {}, (start, end, ino, isFolder) => {
      const pathEnd = this.#pathEnd(pathBytes, layer, start, end);
      if (!isFolder) this.#visit(layer, ino, start, end, false, above);
      else this.#found.push({ parent: above, pathBytes: pathEnd + 1, parts: [{ layer, ino, start, end }] });
    });
  }

  #visit(
    layer: number,
    ino: number,
    start: number,
    end: number,
    isFolder: boolean,
    parent: number | undefined,
  ): number {
    const name = this.#name;
    name.layer = layer;
    name.ino = ino;
    name.start = start;
    name.end = end;
    name.isFolder = isFolder;
    name.parent = parent;
    return this.visit(name);
  }

  /** The part that determines the folder's attributes. */
  #shownOf(parts: readonly LayerName[]): LayerName {
    const lowest = parts[0] as LayerName;
    if (parts.length === 1) return lowest;
    return parts.findLast(({ layer, ino }) => !isImplied(this.#treeOf(layer), ino)) ?? lowest;
  }

  #merge(parts: readonly LayerName[]): Map<ByteString, Merged> {
    const children = new Map<ByteString, Merged>();
    const hide = (name: ByteString | undefined) => name === undefined ? children.clear() : children.delete(name);
    for (const { layer, ino: folder } of parts) {
      const { bytes } = this.#treeOf(layer);
      const own: (readonly [LayerName, boolean])[] = [];
      this.#list(layer, folder, hide, (start, end, ino, isFolder) => own.push([{ layer, ino, start, end }, isFolder]));
      for (const [child, isFolder] of own) {
        const name = toByteString(bytes.subarray(child.start, child.end));
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
    layer: number,
    ino: number,
    hide: (name: ByteString | undefined) => void,
    add: (start: number, end: number, child: number, isFolder: boolean) => void,
  ): void {
    const { tree, what, hasWhiteouts } = this.layers[layer] as MergedLayer;
    const { bytes } = tree;
    const budget = this.#budgets[layer] as TreeBudget;
    tree.list(ino, 0, (start, end, child, type) => {
      budget.takeEntry(ino);
      const isFolder = type === DT_DIR;
      const kind = hasWhiteouts && bytes[start] === DOT ? obeyWhiteout(bytes.subarray(start, end), what, hide) : "none";
      if (kind === "none") add(start, end, child, isFolder);
      else if (kind !== "meta" && isFolder) refuseBelow(tree, child, what, bytes.subarray(start, end));
      return true;
    });
  }

  /**
   * Length of the path of a name in a folder.
   *
   * @throws {NydusGdError} "unsupported" if it exceeds what readers accept
   */
  #pathEnd(folderBytes: number, layer: number, start: number, end: number): number {
    const pathEnd = folderBytes + end - start;
    if (pathEnd <= PATH_MAX) return pathEnd;
    const name = new TextDecoder().decode(this.#treeOf(layer).bytes.subarray(start, end));
    const state = `its path has ${pathEnd} bytes, at most ${PATH_MAX}`;
    throw new NydusGdError("unsupported", `Cannot convert ${JSON.stringify(name)}: ${state}`);
  }

  #treeOf(layer: number): Bootstrap {
    return (this.layers[layer] as MergedLayer).tree;
  }
}

/** Applies the name if it is a whiteout; returns its kind. @param what its layer */
function obeyWhiteout(
  name: Uint8Array,
  what: string,
  hide: (name: ByteString | undefined) => void,
): WhiteoutName["kind"] {
  const whiteout = parseWhiteout(name);
  if (whiteout.kind === "opaque") hide(undefined);
  if (whiteout.kind !== "whiteout") return whiteout.kind;
  const gone = toByteString(whiteout.name);
  if (gone === "" || gone === "." || gone === "..") {
    const state = `it has a whiteout of ${JSON.stringify(gone)}, which is not a valid name`;
    throw new NydusGdError("invalid-image", `Cannot convert ${what}: ${state}`);
  }
  hide(gone);
  return whiteout.kind;
}

/** Refuses files below a whiteout, as the graph driver does: they would be lost. */
function refuseBelow(tree: Bootstrap, ino: number, what: string, name: Uint8Array): void {
  tree.list(ino, 0, () => {
    const state = `${JSON.stringify(new TextDecoder().decode(name))} is a whiteout and not a folder`;
    throw new NydusGdError("invalid-image", `Cannot convert ${what}: ${state}`);
  });
}

/** Whether a folder only occurs within a path in its layer. */
function isImplied(tree: Bootstrap, ino: number): boolean {
  if (!tree.hasXattrs) return false;
  for (const [name] of tree.xattrs(ino)) if (isImpliedMark(name)) return true;
  return false;
}
