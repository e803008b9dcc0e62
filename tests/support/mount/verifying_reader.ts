/**
 * Processes that repeatedly read files of known content, bypassing the page cache.
 *
 * ```ts
 * await using readers = await VerifyingReaders.start(8, folder, files, stopFile);
 * …
 * const { reads, wrong, errors, longestPauseMs } = await readers.stop();
 * ```
 * Each reader is a process, since it blocks in read(2), and a process that serves a mount must not access it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isErrno } from "../../../ffi/errno.ts";
import { dropPages, O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { readProcessFile } from "../../../ffi/procfs.ts";
import { Mapping } from "../../../ffi/sys_mman.ts";
import { pread } from "../../../ffi/unistd.ts";
import { messageOf } from "../../../lib/base/errors.ts";
import { endProcess } from "../process/end_process.ts";
import { programUrl } from "../repository.ts";
import { until } from "../until.ts";

/** This module. */
const PROGRAM = programUrl(import.meta, "verifying_reader.ts");

/** Interval of looks at readers that are to be held: longer than other waits in the kernel than those for an answer. */
const HELD_POLL_MS = 50;

/** Alignment that O_DIRECT requires of offsets, lengths and memory. */
const BLOCK = 4096;

/** Results of all readers. */
export interface Readings {
  readonly reads: number;
  readonly wrong: number;
  /** Some of the errors of read(2), or descriptions of wrong bytes. */
  readonly errors: readonly string[];
  readonly longestPauseMs: number;
}

/** Content of file `number`; all blocks of all files differ. */
export function knownBytes(number: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(sizeBytes / 4);
  let state = (number + 1) * 0x9e3779b9 >>> 0;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}

/** Readers of `<folder>/0`, `<folder>/1`, … */
export class VerifyingReaders implements AsyncDisposable {
  private constructor(private readonly readers: Reader[], private readonly stopFile: string) {}

  /**
   * Resolves when every reader has opened its files.
   *
   * @param files number and size of the files; the size is a multiple of {@link BLOCK}
   * @param stopFile path that must not exist; the readers end when it appears
   */
  static async start(
    count: number,
    folder: string,
    files: { readonly count: number; readonly sizeBytes: number },
    stopFile: string,
  ): Promise<VerifyingReaders> {
    const job = JSON.stringify({ folder, ...files, stopFile });
    const readers = Array.from({ length: count }, () => new Reader(job));
    await Promise.all(readers.map((reader) => reader.nextLine()));
    return new VerifyingReaders(readers, stopFile);
  }

  /** Ends the readers after their current read. */
  async stop(): Promise<Readings> {
    await Deno.writeTextFile(this.stopFile, "");
    const lines = await Promise.all(this.readers.map((reader) => reader.nextLine()));
    const readings = lines.map((line) => JSON.parse(line) as Readings);
    return {
      reads: readings.reduce((sum, { reads }) => sum + reads, 0),
      wrong: readings.reduce((sum, { wrong }) => sum + wrong, 0),
      errors: readings.flatMap(({ errors }) => errors),
      longestPauseMs: Math.max(...readings.map(({ longestPauseMs }) => longestPauseMs)),
    };
  }

  /** Runs `fn` while no reader is executing an allowed read: each is stopped, or waits for an answer. */
  async whileHeld(fn: () => Promise<void>): Promise<void> {
    for (const reader of this.readers) reader.signal("SIGSTOP");
    let before: (string | undefined)[] = [];
    await until("every reader waits or has stopped", () => {
      const now = this.readers.map((reader) => reader.rest);
      const isSame = now.every((rest, index) => rest !== undefined && rest === before[index]);
      before = now;
      return isSame;
    }, HELD_POLL_MS);
    try {
      await fn();
    } finally {
      for (const reader of this.readers) reader.signal("SIGCONT");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.readers.map((reader) => reader[Symbol.asyncDispose]()));
  }
}

/** One process; it prints a line when its files are open, and one at its end. */
class Reader implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(job: string) {
    const args = ["run", "-A", "--no-lock", "--no-check", PROGRAM, job];
    this.#child = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "piped" }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /**
   * How often it has been put to sleep until now, when it is stopped, or asleep in the kernel waiting for an answer or
   * for another reader that does; otherwise undefined. It has not run between two equal ones.
   */
  get rest(): string | undefined {
    const { pid } = this.#child;
    const status = readProcessFile(pid, "status") ?? "";
    const state = /^State:\s+(\w)/m.exec(status)?.[1];
    const stack = state === "D" ? readProcessFile(pid, "stack") ?? "" : "";
    if (state !== "T" && state !== "D") return undefined;
    if (stack.includes("erofs_fileio") && !stack.includes("fanotify")) return undefined; // the disk is slow
    return status.match(/^(non)?voluntary_ctxt_switches:.*$/gm)?.join();
  }

  async nextLine(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { done, value } = await this.#lines.read();
      if (done) throw new Error("a reader ended before it reported its results");
      this.#text += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    endProcess(this.#child);
    await this.#lines.cancel();
    await this.#child.status;
  }
}

function readOn(job: { folder: string; count: number; sizeBytes: number; stopFile: string }): Readings {
  const expected = Array.from({ length: job.count }, (_, number) => knownBytes(number, job.sizeBytes));
  const fds = expected.map((_, number) => openPast(`${job.folder}/${number}`));
  console.log("reading");
  using memory = Mapping.anonymous(64 * BLOCK);
  const errors: string[] = [];
  let [reads, wrong, longestPauseMs] = [0, 0, 0];
  while (!exists(job.stopFile)) {
    const number = Math.floor(Math.random() * job.count);
    const length = BLOCK * (1 + Math.floor(Math.random() * 64));
    const offset = BLOCK * Math.floor(Math.random() * (job.sizeBytes / BLOCK));
    const buffer = memory.bytes.subarray(0, length);
    const startedAt = performance.now();
    try {
      dropPages(fds[number] as typeof fds[0]);
      const got = pread(fds[number] as typeof fds[0], buffer, offset);
      reads++;
      const wanted = expected[number]?.subarray(offset, offset + length) ?? new Uint8Array();
      if (Buffer.compare(buffer.subarray(0, got), wanted) !== 0) {
        wrong++;
        const at = wanted.findIndex((byte, i) => i >= got || buffer[i] !== byte);
        if (errors.length < 4) errors.push(`file ${number} at ${offset + at} of ${offset}+${got}: ${buffer[at]}`);
      }
    } catch (error) {
      if (errors.length < 4) errors.push(messageOf(error));
    }
    longestPauseMs = Math.max(longestPauseMs, performance.now() - startedAt);
  }
  return { reads, wrong, errors, longestPauseMs };
}

/** Opens for reads that bypass the page cache; file systems without O_DIRECT are read after dropping their pages. */
function openPast(path: string): Fd {
  try {
    return open(path, O.RDONLY | O.DIRECT);
  } catch (error) {
    if (isErrno(error, "EINVAL")) return open(path, O.RDONLY);
    throw error;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

if (import.meta.main) console.log(JSON.stringify(readOn(JSON.parse(Deno.args[0] ?? ""))));
