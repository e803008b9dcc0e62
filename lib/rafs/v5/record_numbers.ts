/**
 * Numbers the names of a tree for a v5 bootstrap: 1 is the root, then directory by directory, each in name order.
 *
 * @module
 */
import { isDots, SLASH } from "../../base/path_bytes.ts";
import { GrowingColumn } from "../memory/growing.ts";
import { S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import type { SortedEntries, TreeTable } from "../v6/tree_table.ts";

const ROOT_NAME = Uint8Array.of(SLASH);
/** Number of the root's record. */
const ROOT = 1;
/** Stands for the row of the root, which is in no directory. */
const NO_ROW = 0xffff_ffff;

/** The records of a tree by number, 1 to {@link RecordRows.count}. */
export class RecordRows {
  readonly #tree: TreeTable;
  readonly #names: Uint8Array;
  /** Row of the name in the tree's entries, by record. */
  readonly #rows = GrowingColumn.u32();
  readonly #inodes = GrowingColumn.u32();
  readonly #parents = GrowingColumn.u32();
  readonly #inos = GrowingColumn.u32();
  readonly #firstChildren = GrowingColumn.u32();
  readonly #childCounts = GrowingColumn.u32();
  /** Number of the first record by inode; 0 when it has none yet. */
  readonly #firstNames: Uint32Array;
  #inodeCount = 1;

  /** Numbers the names of `tree`. */
  constructor(tree: TreeTable, sorted: SortedEntries) {
    this.#tree = tree;
    this.#names = tree.names.bytes;
    this.#firstNames = new Uint32Array(tree.inodeCount);
    this.#firstNames[0] = ROOT;
    this.#add(NO_ROW, 0, 0, 0); // numbers begin at 1
    this.#add(NO_ROW, 0, 0, ROOT);
    for (let index = ROOT; index < this.#rows.length; index++) { // rows are added during the loop
      const inode = this.#inodes.at(index);
      if (tree.isDirectory(inode)) this.#addChildren(index, sorted.of(inode));
    }
  }

  #addChildren(parent: number, rows: Iterable<number>): void {
    const first = this.#rows.length;
    this.#firstChildren.set(parent, first);
    for (const row of rows) if (!isDots(this.#nameOfRow(row))) this.#addChild(parent, row);
    this.#childCounts.set(parent, this.#rows.length - first);
  }

  #addChild(parent: number, row: number): void {
    const inode = this.#tree.entries.inode[row] as number;
    const index = this.#rows.length;
    const first = this.#firstNames[inode] as number;
    if (first === 0) this.#firstNames[inode] = index;
    const isFurtherName = first !== 0 && (this.#tree.modeOf(inode) & S_IFMT) === S_IFREG;
    if (!isFurtherName) this.#inodeCount++;
    this.#add(row, inode, parent, isFurtherName ? first : index);
  }

  #add(row: number, inode: number, parent: number, ino: number): void {
    this.#rows.push(row);
    this.#inodes.push(inode);
    this.#parents.push(parent);
    this.#inos.push(ino);
    this.#firstChildren.push(0);
    this.#childCounts.push(0);
  }

  #nameOfRow(row: number): Uint8Array {
    const { nameAt, nameSize } = this.#tree.entries;
    const at = nameAt[row] as number;
    return this.#names.subarray(at, at + (nameSize[row] as number));
  }

  get count(): number {
    return this.#rows.length - 1;
  }

  /** Number of records that are not a further name of another record. */
  get inodeCount(): number {
    return this.#inodeCount;
  }

  inodeOf(index: number): number {
    return this.#inodes.at(index);
  }

  nameOf(index: number): Uint8Array {
    const row = this.#rows.at(index);
    return row === NO_ROW ? ROOT_NAME : this.#nameOfRow(row);
  }

  /** Number of the directory that contains it, 0 for the root. */
  parentOf(index: number): number {
    return this.#parents.at(index);
  }

  /** Its own number, or that of the first name of the same file. */
  inoOf(index: number): number {
    return this.#inos.at(index);
  }

  /** Number of the first record of an inode. */
  firstOf(inode: number): number {
    return this.#firstNames[inode] || ROOT;
  }

  childrenOf(index: number): { readonly first: number; readonly count: number } {
    return { first: this.#firstChildren.at(index), count: this.#childCounts.at(index) };
  }
}
