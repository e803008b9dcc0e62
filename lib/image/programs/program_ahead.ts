/**
 * Read-ahead for starting programs: fetches the dynamic linker, the libraries, and those parts that the linker reads.
 *
 * ```
 * a reader waits for a chunk ──────────┬─► is it the head of an ELF file? ─► its relocations, its libraries' ends ─► …
 * a container's command names a file ──┘
 * ```
 * A linker opens libraries one after the other and waits for each. Here they are fetched concurrently: after the chunk
 * that a reader waits for or, if the command of a container is known, while the container is being made. Apart from the
 * ends of libraries, only data that will be read is fetched: no code except the first page to run, and nothing for files
 * that are not found. Failures are ignored: the reader's own request reports them.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import type { BlobRange } from "../prefetch/read_coverage.ts";
import { type Command, commandFiles } from "./command_files.ts";
import { ELF_HEADER_BYTES, elfDynamic, elfHeader, elfProgram, type FileRange } from "./elf.ts";
import { FileParts, type PartSource, type Placing } from "./file_parts.ts";
import { findLibrary } from "./library_folders.ts";
import { findFile, type FoundFile } from "./find_file.ts";

const log = logger("image", "programs");

/** Maximum number of files examined per image; more are not the start of a program. */
const MAX_FILES = 4096;

/** Maximum number of libraries followed per file. */
const MAX_NEEDED = 256;

/** Maximum bytes of a part to fetch, since a malformed file may claim any size. */
const MAX_PART_BYTES = 32 * 1024 * 1024;

/** Bytes of a script in which the kernel looks for its interpreter (BINPRM_BUF_SIZE of <linux/binfmts.h>). */
const SCRIPT_HEAD_BYTES = 256;

/** Maximum bytes of a script or another file that is fetched whole. */
const MAX_NAMED_BYTES = 1 << 20;

/** Dependencies of {@link ProgramAhead}. */
export interface ProgramAheadParts extends Omit<PartSource, "signal"> {
  readonly tree: Bootstrap;
  /** Whether read-ahead is enabled. */
  readonly isOn: () => boolean;
}

/** What the linker of glibc reads to find libraries: ld.so(8). */
const LINKER_CACHE = "/etc/ld.so.cache";

/**
 * Bytes at the end of a library in which its dynamic section and its data are expected. They are fetched together with
 * its head, which tells where these are: of libraries with several chunks, in a Debian of compilers and interpreters,
 * this finds four in five dynamic sections, and the chunk is read by nine in ten.
 */
const LIBRARY_TAIL_BYTES = 16 * 1024;

/** The header of an ELF file. */
const ELF_HEAD: FileRange = { offset: 0, size: ELF_HEADER_BYTES };

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
    this.#once(chunk, async () => {
      // the chunks of a file are contiguous in its blob, except those shared with other files
      const place = ({ offset, size }: FileRange) => [{ ...chunk, offset: chunk.offset + offset, length: size }];
      const file = this.#partsAt(place);
      await this.#followLinker(file, await file.readAwaited(ELF_HEAD));
    });
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

  /** Examines the file that begins with the chunk, unless that was done before. */
  #once({ blobIndex, offset }: BlobRange, examine: () => Promise<void>): void {
    const key = `${blobIndex}:${offset}`;
    if (this.#seen.has(key) || this.#seen.size >= MAX_FILES || this.#abort.signal.aborted) return;
    this.#seen.add(key);
    this.#inBackground(key, examine);
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
    const parts = this.#partsOf(file);
    const head = await parts.read({ offset: 0, size: Math.min(file.size, SCRIPT_HEAD_BYTES) });
    if (elfHeader(head) !== undefined) return this.#beginFile(file);
    this.#fetchWhole(file);
    this.#expectFiles({ ...command, argv: interpreterOf(head) });
  }

  /** Fetches what the dynamic linker reads of a file that begins with `head`: nothing if it is no ELF file. */
  async #followLinker(file: FileParts, head: Uint8Array): Promise<void> {
    const header = elfHeader(head);
    if (header === undefined) return;
    const program = elfProgram(header, await file.read(header.programHeaders));
    const { interpreter, dynamic } = program;
    if (interpreter !== undefined) {
      const path = await file.nameAt(interpreter.offset);
      this.#beginFile(path === undefined ? undefined : findFile(this.parts.tree, path));
      this.#fetchWhole(findFile(this.parts.tree, LINKER_CACHE));
    }
    if (dynamic === undefined) return;
    const { needed, searchPaths, loaded } = elfDynamic(program, await file.read(dynamic));
    for (const range of loaded) if (range.size <= MAX_PART_BYTES) this.#fetch(file, range);
    const folders = (await file.namesAt(searchPaths.slice(0, MAX_NEEDED))).flatMap((paths) => paths.split(":"));
    for (const name of await file.namesAt(needed.slice(0, MAX_NEEDED))) {
      this.#beginLibrary(findLibrary(this.parts.tree, name, folders, header.machine));
    }
  }

  /** Begins a library as a file; its end is fetched at once, before it is known what is there. */
  #beginLibrary(file: FoundFile | undefined): void {
    this.#beginFile(file, async (parts, fileSize) => {
      await parts.confineNeighbours(fileSize);
      const size = Math.min(LIBRARY_TAIL_BYTES, fileSize);
      this.#fetch(parts, { offset: fileSize - size, size });
    });
  }

  /**
   * Fetches what the dynamic linker reads of a file, unless that was done before.
   *
   * @param before called first
   */
  #beginFile(file: FoundFile | undefined, before?: (parts: FileParts, fileSize: number) => Promise<void>): void {
    if (file === undefined) return;
    const parts = this.#partsOf(file);
    const [head] = parts.placesOf(ELF_HEAD);
    if (head === undefined || file.size < ELF_HEADER_BYTES) return;
    this.#once(head, async () => {
      await before?.(parts, file.size);
      await this.#followLinker(parts, await parts.read(ELF_HEAD));
    });
  }

  #fetchWhole(file: FoundFile | undefined): void {
    if (file !== undefined) this.#fetch(this.#partsOf(file), { offset: 0, size: Math.min(file.size, MAX_NAMED_BYTES) });
  }

  /** Fetches a range in the background. */
  #fetch(file: FileParts, range: FileRange): void {
    this.#inBackground("part", () => file.fetch(range));
  }

  #partsOf({ ino }: FoundFile): FileParts {
    return this.#partsAt(({ offset, size }) =>
      this.parts.tree.extents(ino, offset, size)
        .map(({ blobIndex, blobOffset, length }) => ({ blobIndex, offset: blobOffset, length }))
    );
  }

  #partsAt(place: Placing): FileParts {
    return new FileParts(place, { ...this.parts, signal: this.#abort.signal });
  }
}

/** Returns the interpreter of a script and its arguments: "#!/usr/bin/env node". Empty if it is no script. */
function interpreterOf(head: Uint8Array): string[] {
  const [line = ""] = new TextDecoder().decode(head).split("\n", 1);
  return line.startsWith("#!") ? line.slice(2).trim().split(/\s+/) : [];
}
