/**
 * Finds the files that contain corrupt chunks.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import type { Findings } from "../../rafs/check/findings.ts";
import { pathText } from "../../rafs/path_text.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { fileExtents, walkTree } from "../../rafs/walk.ts";

interface WrongChunk {
  readonly state: string;
  /** The first file that contains it. */
  file: string | undefined;
  files: number;
}

/** Collects corrupt chunks, and reports them with the names of their files. */
export class WrongChunks {
  /** By blob index and chunk. */
  readonly #blobs = new Map<number, Map<number, WrongChunk>>();
  #count = 0;

  /** @param ids IDs of the blobs in the backend, by index */
  constructor(
    private readonly tree: Bootstrap,
    private readonly ids: readonly string[],
    private readonly findings: Findings,
  ) {}

  add(blobIndex: number, chunk: number, state: string): void {
    if (this.#count === this.findings.limit) {
      return this.#report(blobIndex, chunk, { state, file: undefined, files: 0 });
    }
    this.#count++;
    let chunks = this.#blobs.get(blobIndex);
    if (chunks === undefined) this.#blobs.set(blobIndex, chunks = new Map());
    chunks.set(chunk, { state, file: undefined, files: 0 });
  }

  /** Adds the collected chunks to the findings. */
  report(): void {
    if (this.#count > 0) this.findings.attempt("structure", "bootstrap", () => this.#findFiles());
    for (const [blobIndex, chunks] of this.#blobs) {
      for (const [chunk, wrong] of [...chunks].sort(([a], [b]) => a - b)) this.#report(blobIndex, chunk, wrong);
    }
  }

  #findFiles(): void {
    const seen = new Set<number>();
    const budget = new TreeBudget(this.tree.byteLength);
    for (const { path, ino, attr } of walkTree(this.tree)) {
      if ((attr.mode & S.IFMT) !== S.IFREG || seen.has(ino)) continue;
      seen.add(ino);
      const found = new Set<WrongChunk>();
      for (const { blobIndex, chunkIndex } of fileExtents(this.tree, ino, attr.size)) {
        budget.takeChunk(ino);
        const wrong = this.#blobs.get(blobIndex)?.get(chunkIndex);
        if (wrong !== undefined) found.add(wrong);
      }
      for (const wrong of found) {
        wrong.file ??= pathText(path);
        wrong.files++;
      }
    }
  }

  #report(blobIndex: number, chunk: number, { state, file, files }: WrongChunk): void {
    const others = files > 1 ? ` and ${files - 1} more` : "";
    const of = file === undefined ? "" : ` (${file}${others})`;
    this.findings.add("chunk", `blob ${this.ids[blobIndex]}`, `chunk ${chunk}${of}: ${state}`);
  }
}
