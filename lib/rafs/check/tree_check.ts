/**
 * Checks a whole tree: every name, inode, attribute, link and chunk, and that nothing overlaps.
 *
 * The readers throw when they touch damage. The check touches everything, records each error as a finding and continues
 * after it. It also checks what readers do not need: link counts, inodes that share bytes, and table entries that refer
 * to nothing.
 *
 * @module
 */
import { joinPath, SLASH } from "../../base/path_bytes.ts";
import {
  type BlobDescriptor,
  type Bootstrap,
  type DirVisitor,
  emptyAttr,
  type InodeAttr,
  RafsError,
} from "../bootstrap.ts";
import { BLOB_FEATURE, has } from "../format/flags.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { MIN_CHUNK_BYTES, MIN_ENTRY_BYTES } from "../tree_budget.ts";
import { isV5 } from "../v5/bootstrap.ts";
import { CHUNKS_AT_ONCE, PATH_MAX } from "../walk.ts";
import { Budget } from "./budget.ts";
import { pathText } from "../path_text.ts";
import type { ChunkCheck } from "./chunk_check.ts";
import type { Findings } from "./findings.ts";
import { PlacedPieces } from "./overlaps.ts";

/** Identical consecutive errors after which a directory as a whole is unreadable; allows for "." and "..". */
const MOST_REPEATED = 3;

/** What is known about a visited inode. */
interface Seen {
  /** Its first name. */
  readonly path: string;
  names: number;
  /** Undefined if the inode could not be read. */
  readonly attr: Pick<InodeAttr, "mode" | "nlink"> | undefined;
  folders: number;
}

interface Entry {
  readonly path: Uint8Array;
  readonly ino: number;
  readonly parent: number;
  /** DT_* of the name; 0 for the root, which has no name. */
  readonly type: number;
}

/** Size of the tree. */
export interface TreeCounts {
  /** Names, including the root. */
  readonly names: number;
  readonly inodes: number;
}

/** Checks one tree. */
export class TreeCheck {
  readonly #seen = new Map<number, Seen>();
  readonly #pieces = new PlacedPieces();
  readonly #stack: Entry[] = [];
  readonly #attr = emptyAttr();
  readonly #entries: Budget;
  readonly #chunkPieces: Budget;
  readonly #xattrBytes: Budget;
  #names = 0;

  constructor(
    private readonly tree: Bootstrap,
    private readonly findings: Findings,
    private readonly chunks: ChunkCheck,
  ) {
    const { byteLength } = tree;
    this.#entries = new Budget(findings, "names", Math.ceil(byteLength / MIN_ENTRY_BYTES));
    this.#chunkPieces = new Budget(findings, "chunks of files", Math.ceil(byteLength / MIN_CHUNK_BYTES));
    this.#xattrBytes = new Budget(findings, "bytes of extended attributes", byteLength);
  }

  run(): TreeCounts {
    const { tree } = this;
    this.#stack.push({ path: Uint8Array.of(SLASH), ino: tree.rootIno, parent: tree.rootIno, type: 0 });
    for (let entry = this.#stack.pop(); entry !== undefined; entry = this.#stack.pop()) this.#visit(entry);
    this.#checkLinks();
    this.#checkPrefetch();
    this.#checkPlaces();
    return { names: this.#names, inodes: this.#seen.size };
  }

  #visit({ path, ino, parent, type }: Entry): void {
    const { tree, findings } = this;
    const text = pathText(path);
    this.#names++;
    let seen = this.#seen.get(ino);
    if (seen === undefined) {
      const known = findings.attempt("structure", text, () => {
        tree.attr(ino, this.#attr);
        return { mode: this.#attr.mode, nlink: this.#attr.nlink };
      });
      this.#seen.set(ino, seen = { path: text, names: 0, attr: known, folders: 0 });
      if (known !== undefined) this.#checkInode(path, text, ino, this.#attr.size);
    } else if (seen.attr !== undefined && (seen.attr.mode & S_IFMT) === S_IFDIR) {
      findings.add("structure", text, `it is the same directory as ${seen.path}`);
    }
    seen.names++;
    const mode = seen.attr?.mode;
    if (mode === undefined) return;
    if ((mode & S_IFMT) === S_IFDIR && ino !== parent) {
      const above = this.#seen.get(parent);
      if (above !== undefined) above.folders++;
    }
    if (type !== 0 && type !== (mode & S_IFMT) >> 12) {
      findings.add("structure", text, `its name has type ${type}, its mode is 0${mode.toString(8)}`);
    }
  }

  #checkInode(path: Uint8Array, text: string, ino: number, size: number): void {
    const { tree, findings } = this;
    const { mode } = this.#attr;
    const isTooLong = path.length - 1 > PATH_MAX;
    if (isTooLong) {
      findings.add("structure", `${text.slice(0, 100)}…`, `its path has ${path.length} bytes, at most ${PATH_MAX + 1}`);
    }
    findings.attempt("structure", text, () => {
      if (this.#xattrBytes.isExhausted) return;
      let bytes = 0;
      for (const [name, value] of tree.xattrs(ino)) bytes += name.length + value.length;
      if (bytes > 0 && !tree.hasXattrs) {
        throw new RafsError("Cannot read xattrs: the super block states that the image has none");
      }
      this.#xattrBytes.take(bytes);
    });
    if (tree.version === 6) {
      findings.attempt("structure", text, () => {
        for (const region of tree.inodeRegions(ino)) this.#pieces.add(region, ino);
      });
    }
    switch (mode & S_IFMT) {
      case S_IFDIR:
        if (!isTooLong) this.#list(path, text, ino);
        break;
      case S_IFLNK:
        findings.attempt("structure", text, () => tree.readlink(ino));
        break;
      case S_IFREG:
        this.#checkChunks(text, ino, size);
    }
  }

  /** Lists a directory. After an entry that is refused, it continues with the next one. */
  #list(path: Uint8Array, text: string, ino: number): void {
    const first = this.#stack.length;
    let refusal = "", repeated = 0, cookie = 0;
    const visit: DirVisitor = (name, child, type, next) => {
      cookie = next;
      if (!this.#entries.take(1)) return false;
      this.#stack.push({ path: joinPath(path, name), ino: child, parent: ino, type });
      return true;
    };
    for (;;) {
      try {
        this.tree.readdir(ino, cookie, visit);
        break;
      } catch (error) {
        if (!(error instanceof RafsError)) throw error;
        cookie++;
        if (error.message !== refusal) {
          refusal = error.message;
          repeated = 0;
          this.findings.report("structure", text, error);
        }
        if (++repeated > MOST_REPEATED || !this.#entries.take(1)) break;
      }
    }
    const added = this.#stack.splice(first);
    this.#stack.push(...added.reverse());
  }

  #checkChunks(path: string, ino: number, size: number): void {
    const step = CHUNKS_AT_ONCE * this.tree.chunkSize;
    let offset = 0;
    do { // also checks empty files, which must not have chunks
      const extents = this.findings.attempt("structure", path, () => this.tree.extents(ino, offset, step));
      if (extents === undefined || !this.#chunkPieces.take(extents.length)) return;
      for (const extent of extents) this.chunks.use(path, extent);
      offset += step;
    } while (offset < size);
  }

  #checkLinks(): void {
    // Builders up to 2.2 stored names of a hard link to other than regular files as inodes that keep its count (v6),
    // and even earlier ones those of regular files, too.
    const hasCopies = (mode: number) =>
      this.tree.version === 6 && ((mode & S_IFMT) !== S_IFREG || this.tree.blobs.every(isOfOldBuilder));
    for (const { path, names, attr, folders } of this.#seen.values()) {
      if (attr === undefined) continue;
      const isFolder = (attr.mode & S_IFMT) === S_IFDIR;
      const expected = isFolder ? folders + 2 : names;
      // Builders of 2021 gave every directory a link count of 1.
      if (isFolder && attr.nlink === 1) continue;
      if (!isFolder && attr.nlink > names && hasCopies(attr.mode)) continue;
      if (attr.nlink === expected) continue;
      this.findings.add("structure", path, `its link count is ${attr.nlink}, expected ${expected}`);
    }
  }

  #checkPrefetch(): void {
    const inos = this.findings.attempt("structure", "bootstrap", () => this.tree.prefetch) ?? [];
    for (const ino of new Set(inos)) {
      if (this.#seen.has(ino)) continue;
      this.findings.add("structure", "bootstrap", `the prefetch table lists inode ${ino}, which has no name`);
    }
  }

  #checkPlaces(): void {
    const { tree, findings } = this;
    tree.tables.forEach((region, index) => this.#pieces.add(region, -1 - index));
    if (isV5(tree)) {
      for (let record = 1; record <= tree.recordCount; record++) {
        for (const region of findings.attempt("structure", "bootstrap", () => tree.inodeRegions(record)) ?? []) {
          this.#pieces.add(region, record);
        }
      }
      if (tree.recordCount !== this.#names) {
        findings.add("structure", "bootstrap", `it has ${tree.recordCount} records for ${this.#names} names`);
      }
    }
    this.#pieces.report(findings, (owner) => {
      if (owner < 0) return tree.tables[-1 - owner]?.name ?? "bootstrap";
      return this.#seen.get(owner)?.path ?? `inode ${owner}`;
    });
  }
}

/** Whether a blob was built before 2.2. */
function isOfOldBuilder({ features }: BlobDescriptor): boolean {
  return !has(features, BLOB_FEATURE.capTarToc);
}
