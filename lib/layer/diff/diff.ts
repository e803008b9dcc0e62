/**
 * A layer as a tar: its own files, or what one stack of layers has and another has not.
 *
 * Output is deterministic: folders precede their contents, names are sorted by the bytes of the name in the tar,
 * whiteouts and opaque markers have no timestamp. The root itself has no entry, only its opaque marker. Sizes count
 * each inode once, as in Docker.
 *
 * ```ts
 * for (const piece of diffTar({ layers: [upper, ...lowers], below: lowers })) await file.write(piece);
 * ```
 *
 * @module
 */
import { DT, readDirectory } from "../../../ffi/dirent.ts";
import { AT, O, open, openat } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { S, type Stat, statat } from "../../../ffi/sys_stat.ts";
import { OPAQUE_MARKER, whiteoutName } from "../../archive/whiteout.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { hasOpaqueMark, isWhiteout } from "../overlay/overlay_marks.ts";
import { compareStacks, type Difference, type StackPair } from "./changes.ts";
import { childFolder, childPath, ifPresent, OpenStackFolder, type StackFolder, stackRoot } from "./changes_view.ts";
import { DiffOutput, type Pieces } from "./diff_output.ts";
import { type IdMaps, NO_ID_MAPS } from "../userns/id_maps.ts";

const OPAQUE = toByteString(OPAQUE_MARKER);

/** The tar of what `layers` has and `below` has not. */
export function diffTar(pair: StackPair): Pieces {
  return isOwnParent(pair) ? upperTar(pair.layers[0] as string, pair.idMaps ?? NO_ID_MAPS) : stackTar(pair);
}

/** Bytes of the files and symbolic links that `layers` has and `below` has not. */
export function diffSize(pair: StackPair): number {
  return isOwnParent(pair) ? upperSize(pair.layers[0] as string) : stackSize(pair);
}

/** Whether `below` is `layers` without its topmost: then the difference is that layer. */
function isOwnParent({ layers, below }: StackPair): boolean {
  return layers.length === below.length + 1 && below.every((layer, i) => layer === layers[i + 1]);
}

/** The tar of an overlay layer: its files, whiteouts as `.wh.name`, opaque folders with `.wh..wh..opq` in them. */
function* upperTar(upper: string, idMaps: IdMaps): Pieces {
  const output = new DiffOutput(idMaps);
  using root = open(upper, O.RDONLY | O.DIRECTORY);
  yield* upperFolder(output, root, "");
  yield* output.end();
}

function* upperFolder(output: DiffOutput, folder: Fd, path: ByteString): Pieces {
  if (hasOpaqueMark(folder)) yield* output.marker(childPath(path, OPAQUE));
  for (const name of namesInOrder(folder)) {
    const stat = ifPresent(() => statat(folder, name, AT.SYMLINK_NOFOLLOW));
    if (stat === undefined) continue;
    const child = childPath(path, tarName(name, stat));
    if (isWhiteout(stat)) {
      yield* output.marker(child);
      continue;
    }
    yield* output.node(folder, name, child, stat);
    if ((stat.mode & S.IFMT) !== S.IFDIR) continue;
    using inner = ifPresent(() => openat(folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW));
    if (inner !== undefined) yield* upperFolder(output, inner, child);
  }
}

/** The names in a folder, in the order of their names in the tar. */
function namesInOrder(folder: Fd): Uint8Array[] {
  const names = [...readDirectory(folder)].map(({ name, type }) => {
    const mayBeWhiteout = type === DT.CHR || type === DT.UNKNOWN;
    const stat = mayBeWhiteout ? ifPresent(() => statat(folder, name, AT.SYMLINK_NOFOLLOW)) : undefined;
    return { name, shown: tarName(name, stat) };
  });
  return names.sort((a, b) => a.shown < b.shown ? -1 : 1).map(({ name }) => name);
}

function tarName(name: Uint8Array, stat: Stat | undefined): ByteString {
  return toByteString(stat !== undefined && isWhiteout(stat) ? whiteoutName(name) : name);
}

/** Bytes of the files and symbolic links in a tree, each inode once. */
function upperSize(upper: string): number {
  const sizes = new SizeSum();
  const add = (folder: Fd) => {
    for (const { name } of [...readDirectory(folder)]) {
      const stat = ifPresent(() => statat(folder, name, AT.SYMLINK_NOFOLLOW));
      if (stat !== undefined) sizes.add(stat);
      if (stat === undefined || (stat.mode & S.IFMT) !== S.IFDIR) continue;
      using inner = ifPresent(() => openat(folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW));
      if (inner !== undefined) add(inner);
    }
  };
  using root = open(upper, O.RDONLY | O.DIRECTORY);
  add(root);
  return sizes.bytes;
}

function* stackTar(pair: StackPair): Pieces {
  const output = new DiffOutput(pair.idMaps ?? NO_ID_MAPS);
  const root = stackRoot(pair.layers);
  if (root !== undefined) yield* stackFolder(output, root, compareStacks(pair, "origin"));
  yield* output.end();
}

function* stackFolder(output: DiffOutput, folder: StackFolder, differences: readonly Difference[]): Pieces {
  const named = differences.map((difference) => ({
    ...difference,
    shown: difference.kind === "delete" ? toByteString(whiteoutName(fromByteString(difference.name))) : difference.name,
  }));
  named.sort((a, b) => a.shown < b.shown ? -1 : 1);
  for (const { name, shown, child, inside } of named) {
    if (child === undefined) {
      yield* output.marker(childPath(folder.path, shown));
      continue;
    }
    // Only the layer that has the child is opened: a folder may merge many.
    const holder = { path: folder.path, layers: child.layers.slice(0, 1) };
    using open = ifPresent(() => new OpenStackFolder(holder));
    const stat = open?.stat(child);
    if (open === undefined || stat === undefined) continue;
    yield* output.node(open.folderOf(child), fromByteString(name), childPath(folder.path, name), stat);
    if (child.isFolder) yield* stackFolder(output, childFolder(folder, child), inside);
  }
}

function stackSize(pair: StackPair): number {
  const sizes = new SizeSum();
  const add = (folder: StackFolder, differences: readonly Difference[]) => {
    for (const { child, inside } of differences) {
      if (child === undefined) continue;
      using open = ifPresent(() => new OpenStackFolder({ path: folder.path, layers: child.layers.slice(0, 1) }));
      const stat = open?.stat(child);
      if (stat !== undefined) sizes.add(stat);
      if (child.isFolder) add(childFolder(folder, child), inside);
    }
  };
  const root = stackRoot(pair.layers);
  if (root !== undefined) add(root, compareStacks(pair, "stat"));
  return sizes.bytes;
}

/** Sums sizes, counting each inode once and folders not at all. */
class SizeSum {
  bytes = 0;
  readonly #seen = new Set<string>();

  add(stat: Stat): void {
    if ((stat.mode & S.IFMT) === S.IFDIR || stat.size === 0) return;
    if (stat.nlink > 1) {
      const inode = `${stat.dev}:${stat.ino}`;
      if (this.#seen.has(inode)) return;
      this.#seen.add(inode);
    }
    this.bytes += stat.size;
  }
}
