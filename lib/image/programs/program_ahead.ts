/**
 * Read-ahead for starting programs: fetches the dynamic linker, the libraries, and those parts that the linker reads.
 *
 * ```
 * a reader waits for a chunk ──────────┬─► is it the head of an ELF file? ─► its relocations, its libraries' heads ─► …
 * a container's command names a file ──┘
 * ```
 * A linker opens libraries one after the other and waits for each. Here they are fetched concurrently: after the chunk
 * that a reader waits for or, if the command of a container is known, while the container is being made. Only data that
 * will be read is fetched: no code except the first page to run, and nothing for files that are not found. Failures are
 * ignored: the reader's own request reports them.
 *
 * @module
 */
import { preadExact } from "../../../ffi/unistd.ts";
import { type ByteString, toByteString } from "../../base/bytes.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import type { Blob } from "../../blob/blob.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import type { BlobRange } from "../read_coverage.ts";
import { type Command, commandFiles } from "./command_files.ts";
import { ELF_HEADER_BYTES, elfDynamic, elfHeader, elfProgram, type FileRange } from "./elf.ts";
import { findLibrary } from "./library_folders.ts";
import { findFile, type FoundFile } from "./find_file.ts";

const log = logger("image", "programs");

/** Maximum number of files examined per image; more are not the start of a program. */
const MAX_FILES = 4096;

/** Maximum number of libraries followed per file. */
const MAX_NEEDED = 256;

/** Maximum bytes of headers or of a dynamic section; real ones have less than a thousand. */
const MAX_READ_BYTES = 64 * 1024;

/** Maximum bytes of a part to fetch, since a malformed file may claim any size. */
const MAX_PART_BYTES = 32 * 1024 * 1024;

/** Maximum bytes of a name, including its NUL. */
const MAX_NAME_BYTES = 4096;
const NAME_PIECE_BYTES = 256;

/** Bytes of a script in which the kernel looks for its interpreter (BINPRM_BUF_SIZE of <linux/binfmts.h>). */
const SCRIPT_HEAD_BYTES = 256;

/** Maximum bytes of a script or another file that a command names. */
const MAX_NAMED_BYTES = 1 << 20;

/** Dependencies of {@link ProgramAhead}. */
export interface ProgramAheadParts {
  readonly tree: Bootstrap;
  readonly blobs: readonly Pick<Blob, "open" | "ensure">[];
  /** Whether read-ahead is enabled. */
  readonly isOn: () => boolean;
  /** Called for each range that is fetched. */
  readonly onFetch?: (range: BlobRange) => void;
}

/** Maps a range of a file to ranges of blobs. */
type Placing = (range: FileRange) => BlobRange[];

/** Read-ahead for the programs of one image. Disposing stops it. */
export class ProgramAhead implements AsyncDisposable {
  readonly #abort = new AbortController();
  /** Heads already examined, as blob and offset. */
  readonly #seen = new Set<string>();
  /** Inodes of files named by commands. */
  readonly #named = new Set<number>();
  readonly #running = new RunningTasks();

  constructor(private readonly parts: ProgramAheadParts) {}

  /** Notes a chunk that a reader waits for and that is being fetched. */
  noteWaiting(chunk: BlobRange): void {
    if (chunk.length < ELF_HEADER_BYTES || !this.parts.isOn()) return;
    // the chunks of a file are contiguous in its blob, except those shared with other files
    const place = ({ offset, size }: FileRange) => [{ ...chunk, offset: chunk.offset + offset, length: size }];
    this.#begin(chunk, place, false);
  }

  /**
   * Fetches what a command reads first: its programs, as if a reader waited for them, and scripts and other files that
   * it names.
   *
   * @param find returns undefined if the command is not known
   */
  expect(find: () => Promise<Command | undefined> | undefined): void {
    if (!this.parts.isOn()) return;
    this.#inBackground("command", async () => {
      const command = await find();
      if (command !== undefined) this.#expectFiles(command);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#running.settled();
  }

  /** @param isReported whether the head is fetched here, and so reported to `onFetch` */
  #begin({ blobIndex, offset }: BlobRange, place: Placing, isReported: boolean): void {
    const key = `${blobIndex}:${offset}`;
    if (this.#seen.has(key) || this.#seen.size >= MAX_FILES || this.#abort.signal.aborted) return;
    this.#seen.add(key);
    this.#inBackground(key, () => this.#look(place, isReported));
  }

  #inBackground(about: string, work: () => Promise<void>): void {
    this.#running.add(
      work().catch((error) => log.debug("program not read ahead", { about, error: messageOf(error) })),
    );
  }

  #expectFiles(command: Command): void {
    if (this.#abort.signal.aborted) return;
    for (const file of commandFiles(this.parts.tree, command)) {
      this.#inBackground(`${file.ino}`, () => this.#expectFile(file, command));
    }
  }

  async #expectFile(file: FoundFile, command: Command): Promise<void> {
    if (this.#named.has(file.ino)) return;
    this.#named.add(file.ino);
    const place = this.#placingOf(file);
    const head = await this.#read(place, { offset: 0, size: Math.min(file.size, SCRIPT_HEAD_BYTES) });
    if (elfHeader(head) !== undefined) return this.#beginFile(file);
    this.#fetch(place, { offset: 0, size: Math.min(file.size, MAX_NAMED_BYTES) });
    this.#expectFiles({ ...command, argv: interpreterOf(head) });
  }

  async #look(place: Placing, isReported: boolean): Promise<void> {
    const header = elfHeader(await this.#read(place, { offset: 0, size: ELF_HEADER_BYTES }, isReported));
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
    const place = this.#placingOf(file);
    const [head] = place({ offset: 0, size: ELF_HEADER_BYTES });
    if (head !== undefined && file.size >= ELF_HEADER_BYTES) this.#begin(head, place, true);
  }

  #placingOf({ ino }: FoundFile): Placing {
    return ({ offset, size }) =>
      this.parts.tree.extents(ino, offset, size)
        .map(({ blobIndex, blobOffset, length }) => ({ blobIndex, offset: blobOffset, length }));
  }

  /** Fetches a range in the background. */
  #fetch(place: Placing, range: FileRange): void {
    this.#inBackground("part", () => this.#ensure(place(range), true));
  }

  async #ensure(ranges: readonly BlobRange[], isReported: boolean): Promise<void> {
    const { blobs, onFetch } = this.parts;
    await Promise.all(ranges.map(async (range) => {
      if (isReported) onFetch?.(range);
      await blobs[range.blobIndex]?.ensure(range.offset, range.length, "read-ahead", this.#abort.signal);
    }));
  }

  /** Fetches and reads bytes of a file; fewer at its end. */
  async #read(place: Placing, { offset, size }: FileRange, isReported = true): Promise<Uint8Array> {
    const ranges = place({ offset, size: Math.min(size, MAX_READ_BYTES) });
    await this.#ensure(ranges, isReported);
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

  /** Reads a NUL-terminated name; undefined if there is no NUL. */
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

/** Returns the interpreter of a script and its arguments: "#!/usr/bin/env node". Empty if it is no script. */
function interpreterOf(head: Uint8Array): string[] {
  const [line = ""] = new TextDecoder().decode(head).split("\n", 1);
  return line.startsWith("#!") ? line.slice(2).trim().split(/\s+/) : [];
}
