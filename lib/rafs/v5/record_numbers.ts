/**
 * Numbers the names of a tree for a v5 bootstrap: 1 is the root, then directory by directory, each in name order.
 *
 * @module
 */
import { GrowingColumn } from "../growing.ts";
import { isDots } from "../guard.ts";
import { S_IFMT, S_IFREG } from "../inode_mode.ts";
import type { SortedEntries, TreeTable } from "../v6/tree_table.ts";

const ROOT_NAME = Uint8Array.of(0x2f);
/** Stands for the row of the root, which is in no directory. */
const NO_ROW = 0xffff_ffff;

/** Records by number, 1 to {@link RecordRows.count}. */
export interface RecordRows {
  readonly count: number;
  /** Number of records that are not a further name of another record. */
  readonly inodeCount: number;
  inodeOf(index: number): number;
  nameOf(index: number): Uint8Array;
  /** Number of the directory that contains it, 0 for the root. */
  parentOf(index: number): number;
  /** Its own number, or that of the first name of the same file. */
  inoOf(index: number): number;
  /** Number of the first record of an inode. */
  firstOf(inode: number): number;
  childrenOf(index: number): { readonly first: number; readonly count: number };
}

/** Numbers the names of `tree`. */
export function numberRecords(tree: TreeTable, sorted: SortedEntries): RecordRows {
  const names = tree.names.bytes;
  const { nameAt, nameSize, inode: entryInode } = tree.entries;
  const nameOfRow = (row: number) => {
    const at = nameAt[row] as number;
    return names.subarray(at, at + (nameSize[row] as number));
  };
  const rows = GrowingColumn.u32();
  const inodes = GrowingColumn.u32();
  const parents = GrowingColumn.u32();
  const inos = GrowingColumn.u32();
  const first = GrowingColumn.u32();
  const counts = GrowingColumn.u32();
  const add = (row: number, inode: number, parent: number, ino: number) => {
    inodes.push(inode);
    parents.push(parent);
    inos.push(ino);
    first.push(0);
    counts.push(0);
    rows.push(row);
  };
  /** Number of the first record by inode; 0 when it has none yet. */
  const firstNames = new Uint32Array(tree.inodeCount);
  firstNames[0] = 1;
  let inodeCount = 1;
  add(NO_ROW, 0, 0, 0);
  add(NO_ROW, 0, 0, 1);
  for (let index = 1; index < rows.length; index++) { // rows are added during the loop
    const inode = inodes.at(index);
    if (!tree.isDirectory(inode)) continue;
    first.set(index, rows.length);
    for (const row of sorted.of(inode)) {
      if (isDots(nameOfRow(row))) continue;
      const child = entryInode[row] as number;
      const known = firstNames[child] as number;
      const isFurtherName = known !== 0 && (tree.modeOf(child) & S_IFMT) === S_IFREG;
      if (known === 0) firstNames[child] = rows.length;
      if (!isFurtherName) inodeCount++;
      add(row, child, index, isFurtherName ? known : rows.length);
    }
    counts.set(index, rows.length - first.at(index));
  }
  return {
    count: rows.length - 1,
    inodeCount,
    inodeOf: (index) => inodes.at(index),
    nameOf: (index) => rows.at(index) === NO_ROW ? ROOT_NAME : nameOfRow(rows.at(index)),
    parentOf: (index) => parents.at(index),
    inoOf: (index) => inos.at(index),
    firstOf: (inode) => firstNames[inode] || 1,
    childrenOf: (index) => ({ first: first.at(index), count: counts.at(index) }),
  };
}
