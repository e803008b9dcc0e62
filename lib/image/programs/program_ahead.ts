/**
 * Fetches what a program that starts will read before it runs: its dynamic linker and libraries, and of each of them what
 * the linker goes over.
 *
 * ```
 * a reader waits for a chunk ─► is it the head of an ELF file? ─► its relocations, its libraries' heads ─► theirs
 * ```
 * A linker opens one library after the other and waits for each; here they come together, behind what the reader waits
 * for. What is fetched is what will be read: no code beside the first that runs, nothing where a file is not found.
 * Nobody waits for it, and what fails is forgotten: the reader asks for it again and is told.
 *
 * @module
 */
import { preadExact } from "../../../ffi/unistd.ts";
import { type ByteString, toByteString } from "../../base/bytes.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { Blob } from "../../blob/blob.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import type { BlobRange } from "../lazy/read_coverage.ts";
import { ELF_HEADER_BYTES, elfDynamic, elfHeader, elfProgram, type FileRange } from "./elf.ts";
import { findLibrary } from "./library_folders.ts";
import { findFile, type FoundFile } from "./find_file.ts";

const log = logger("image", "programs");

/** Files that are looked at of one image: more is no start of a program. */
const MAX_FILES = 4096;

/** Libraries of one file that are looked for. */
const MAX_NEEDED = 256;

/** Bytes of headers, or of a dynamic section, that are read: programs have less than a thousand. */
const MAX_READ_BYTES = 64 * 1024;

/** Bytes of a part that is fetched: of a file that is no honest one, nobody knows where it ends. */
const MAX_PART_BYTES = 32 * 1024 * 1024;

/** Bytes of a name, zero included. */
const MAX_NAME_BYTES = 4096;
const NAME_PIECE_BYTES = 256;

/** What {@link ProgramAhead} works with. */
export interface ProgramAheadParts {
  readonly tree: Bootstrap;
  readonly blobs: readonly Pick<Blob, "open" | "ensure">[];
  /** Whether anything may be fetched that nobody waits for. */
  readonly isOn: () => boolean;
  /** Told of what is fetched. */
  readonly onFetch?: (range: BlobRange) => void;
}

/** Where bytes of a file are. */
type Placing = (range: FileRange) => BlobRange[];

/** See the module. Of one image; disposing stops it. */
export class ProgramAhead implements AsyncDisposable {
  readonly #abort = new AbortController();
  /** Heads that were looked at: blob and offset. */
  readonly #seen = new Set<string>();
  readonly #running = new Set<Promise<void>>();

  constructor(private readonly parts: ProgramAheadParts) {}

  /** A reader waits for a chunk of a blob, which is on its way. */
  noteWaiting(chunk: BlobRange): void {
    if (chunk.length < ELF_HEADER_BYTES || !this.parts.isOn()) return;
    // pieces of a file follow each other in its blob, but for those that other files have as well
    const place = ({ offset, size }: FileRange) => [{ ...chunk, offset: chunk.offset + offset, length: size }];
    this.#begin(chunk, place, false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** @param isTold whether the head is fetched by us */
  #begin({ blobIndex, offset }: BlobRange, place: Placing, isTold: boolean): void {
    const key = `${blobIndex}:${offset}`;
    if (this.#seen.has(key) || this.#seen.size >= MAX_FILES || this.#abort.signal.aborted) return;
    this.#seen.add(key);
    const look = this.#look(place, isTold)
      .catch((error) => log.debug("program not looked at", { blobIndex, offset, error: messageOf(error) }))
      .finally(() => this.#running.delete(look));
    this.#running.add(look);
  }

  async #look(place: Placing, isTold: boolean): Promise<void> {
    const header = elfHeader(await this.#read(place, { offset: 0, size: ELF_HEADER_BYTES }, isTold));
    if (header === undefined) return;
    const program = elfProgram(header, await this.#read(place, header.programHeaders));
    const { interpreter, dynamic } = program;
    if (interpreter !== undefined) {
      const path = await this.#nameAt(place, interpreter.offset);
      this.#beginFile(path === undefined ? undefined : findFile(this.parts.tree, path));
    }
    if (dynamic === undefined) return;
    const { needed, searchPaths, loaded } = elfDynamic(program, await this.#read(place, dynamic));
    for (const range of loaded) if (range.size <= MAX_PART_BYTES) this.#fetch(place, range);
    const folders = (await this.#namesAt(place, searchPaths.slice(0, MAX_NEEDED))).flatMap((paths) => paths.split(":"));
    for (const name of await this.#namesAt(place, needed.slice(0, MAX_NEEDED))) {
      this.#beginFile(findLibrary(this.parts.tree, name, folders, header.machine));
    }
  }

  #beginFile(file: FoundFile | undefined): void {
    if (file === undefined) return;
    const place = ({ offset, size }: FileRange) =>
      this.parts.tree.extents(file.ino, offset, size)
        .map(({ blobIndex, blobOffset, length }) => ({ blobIndex, offset: blobOffset, length }));
    const [head] = place({ offset: 0, size: ELF_HEADER_BYTES });
    if (head !== undefined && file.size >= ELF_HEADER_BYTES) this.#begin(head, place, true);
  }

  /** Has a range fetched; nobody waits. */
  #fetch(place: Placing, range: FileRange): void {
    const fetching = this.#ensure(place(range), true)
      .catch((error) => log.debug("part of a program not fetched", { error: messageOf(error) }))
      .finally(() => this.#running.delete(fetching));
    this.#running.add(fetching);
  }

  async #ensure(ranges: readonly BlobRange[], isTold: boolean): Promise<void> {
    const { blobs, onFetch } = this.parts;
    await Promise.all(ranges.map(async (range) => {
      if (isTold) onFetch?.(range);
      await blobs[range.blobIndex]?.ensure(range.offset, range.length, "read-ahead", this.#abort.signal);
    }));
  }

  /** Bytes of a file, which are fetched first; fewer where it ends. */
  async #read(place: Placing, { offset, size }: FileRange, isTold = true): Promise<Uint8Array> {
    const ranges = place({ offset, size: Math.min(size, MAX_READ_BYTES) });
    await this.#ensure(ranges, isTold);
    const bytes = new Uint8Array(ranges.reduce((sum, { length }) => sum + length, 0));
    let filled = 0;
    for (const range of ranges) {
      const opened = await this.parts.blobs[range.blobIndex]?.open(this.#abort.signal);
      if (opened === undefined) break;
      preadExact(opened.dataFd, bytes.subarray(filled, filled += range.length), range.offset);
    }
    return bytes.subarray(0, filled);
  }

  async #namesAt(place: Placing, offsets: readonly number[]): Promise<ByteString[]> {
    const names = await Promise.all(offsets.map((offset) => this.#nameAt(place, offset)));
    return names.filter((name) => name !== undefined);
  }

  /** Up to a zero; undefined where none follows. */
  async #nameAt(place: Placing, offset: number): Promise<ByteString | undefined> {
    let name = "";
    while (name.length < MAX_NAME_BYTES) {
      const piece = await this.#read(place, { offset: offset + name.length, size: NAME_PIECE_BYTES });
      const end = piece.indexOf(0);
      name += toByteString(end < 0 ? piece : piece.subarray(0, end));
      if (end >= 0) return name;
      if (piece.length < NAME_PIECE_BYTES) return undefined;
    }
    return undefined;
  }
}
