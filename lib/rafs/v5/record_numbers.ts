/**
 * How the names of a tree are numbered in a v5 bootstrap: 1 is the root, then directory by directory, the names of each
 * in their order.
 *
 * @module
 */
import { S_IFMT, S_IFREG } from "../inode_mode.ts";
import { isDots } from "../guard.ts";
import type { SortedEntries, TreeTable } from "../v6/tree_table.ts";

const ROOT_NAME = Uint8Array.of(0x2f);
/** The row of the root, which no directory holds. */
const NO_ROW = 0xffff_ffff;

/** Records by their number, 1 to {@link RecordRows.count}. */
export interface RecordRows {
  readonly count: number;
  /** Records that are not a further name of another. */
  readonly inodeCount: number;
  inodeOf(index: number): number;
  nameOf(index: number): Uint8Array;
  /** Number of the directory that holds it, 0 for the root. */
  parentOf(index: number): number;
  /** Its own number, or that of the first name of the same file. */
  inoOf(index: number): number;
  /** Number of the first record of an inode. */
  firstOf(inode: number): number;
  childrenOf(index: number): { readonly first: number; readonly count: number };
}

/** Numbers the names. */
export function numberRecords(tree: TreeTable, sorted: SortedEntries): RecordRows {
  const names = tree.names.bytes;
  const { nameAt, nameSize, inode: entryInode } = tree.entries;
  const nameOfRow = (row: number) => {
    const at = nameAt[row] as number;
    return names.subarray(at, at + (nameSize[row] as number));
  };
  const rows = [NO_ROW, NO_ROW];
  const inodes = [0, 0];
  const parents = [0, 0];
  const inos = [0, 1];
  const first = [0, 0];
  const counts = [0, 0];
  const firstNames = new Map<number, number>([[0, 1]]);
  let inodeCount = 1;
  for (let index = 1; index < rows.length; index++) { // grows meanwhile
    const inode = inodes[index] as number;
    if (!tree.isDirectory(inode)) continue;
    first[index] = rows.length;
    for (const row of sorted.of(inode)) {
      if (isDots(nameOfRow(row))) continue;
      const child = entryInode[row] as number;
      const known = firstNames.get(child);
      const isFurtherName = known !== undefined && (tree.modeOf(child) & S_IFMT) === S_IFREG;
      if (known === undefined) firstNames.set(child, rows.length);
      if (!isFurtherName) inodeCount++;
      inos.push(isFurtherName ? known : rows.length);
      rows.push(row);
      inodes.push(child);
      parents.push(index);
      first.push(0);
      counts.push(0);
    }
    counts[index] = rows.length - (first[index] as number);
  }
  return {
    count: rows.length - 1,
    inodeCount,
    inodeOf: (index) => inodes[index] as number,
    nameOf: (index) => rows[index] === NO_ROW ? ROOT_NAME : nameOfRow(rows[index] as number),
    parentOf: (index) => parents[index] as number,
    inoOf: (index) => inos[index] as number,
    firstOf: (inode) => firstNames.get(inode) ?? 1,
    childrenOf: (index) => ({ first: first[index] as number, count: counts[index] as number }),
  };
}
