/**
 * Memory mappings of this process and their resident sizes: /proc/self/smaps.
 *
 * Each area has a header, `55b7b566d000-55b7b9361000 r-xp 01b8e000 fe:00 1327111    /path`, followed by lines such as
 * `Rss:   38740 kB`. Source: Documentation/filesystems/proc.rst 3.1, Linux 6.18.
 *
 * @module
 */
import { adviseMemory, MADV } from "./sys_mman.ts";

/** A mapped area. */
export interface MemoryArea {
  readonly start: bigint;
  /** Bytes. */
  readonly length: number;
  /** Such as "r-xp": read, write, execute, private or shared. */
  readonly permissions: string;
  /** Offset in the file in bytes. */
  readonly offset: number;
  /** Inode number of the mapped file; 0 without a file. */
  readonly inode: number;
  /** Resident bytes. */
  readonly residentBytes: number;
  /** Bytes that belong to no file: pages of a private mapping that were written to. */
  readonly anonymousBytes: number;
}

const HEADER = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (\d+)/;
const FIGURE = /^(Rss|Anonymous):\s+(\d+) kB$/;

/** Parses the areas of a smaps text in order, or of a maps text, which has no sizes. */
export function parseSmaps(text: string): MemoryArea[] {
  const areas: { -readonly [K in keyof MemoryArea]: MemoryArea[K] }[] = [];
  for (const line of text.split("\n")) {
    const header = HEADER.exec(line);
    if (header !== null) {
      const start = BigInt(`0x${header[1]}`), end = BigInt(`0x${header[2]}`);
      const [, , , permissions = "", offset = "", inode = ""] = header;
      const file = { offset: Number.parseInt(offset, 16), inode: Number(inode) };
      areas.push({ start, length: Number(end - start), permissions, ...file, residentBytes: 0, anonymousBytes: 0 });
      continue;
    }
    const [, name, kib] = FIGURE.exec(line) ?? [];
    const area = areas.at(-1);
    if (area === undefined || name === undefined) continue;
    area[name === "Rss" ? "residentBytes" : "anonymousBytes"] = Number(kib) * 1024;
  }
  return areas;
}

/** Bytes of smaps per read: some twenty areas. */
const PIECE_BYTES = 16 * 1024;
/** Start of the last line of an area. */
const LAST_LINE = "\nVmFlags:";

/**
 * Code and constants of the program and its libraries. Areas of other files are excluded, because another thread may
 * unmap them and something else may be mapped there in the meantime.
 */
export function programAreas(areas: readonly MemoryArea[]): MemoryArea[] {
  const programs = new Set(areas.filter(({ permissions }) => permissions[2] === "x").map(({ inode }) => inode));
  return areas.filter(({ inode, permissions }) =>
    inode !== 0 && programs.has(inode) && permissions[1] !== "w" && permissions[3] === "p"
  );
}

/** Resident pages of the program and its libraries, whose mappings stay in place as long as the process runs. */
export class ProgramPages {
  readonly #lengths: ReadonlyMap<bigint, number>;

  private constructor(areas: readonly MemoryArea[]) {
    this.#lengths = new Map(areas.map(({ start, length }) => [start, length]));
  }

  /**
   * Records what is loaded now. Call before the first Worker starts: a Worker has areas of its own that disappear with
   * it.
   */
  static loaded(): ProgramPages {
    return new ProgramPages(programAreas(parseSmaps(Deno.readTextFileSync("/proc/self/maps"))));
  }

  /**
   * Removes the pages from this process. They stay in the page cache, from which they are mapped again on access. Most
   * are needed only during startup.
   *
   * @param thresholdBytes drops nothing while at most this many bytes are resident
   * @returns bytes dropped
   */
  drop(thresholdBytes: number): number {
    // Skips areas with private pages, which were relocated or belong to a debugger.
    const areas = ownAreas().filter(({ start, length, anonymousBytes }) =>
      anonymousBytes === 0 && this.#lengths.get(start) === length
    ).toArray();
    const bytes = areas.reduce((sum, { residentBytes }) => sum + residentBytes, 0);
    if (bytes <= thresholdBytes) return 0;
    for (const { start, length } of areas) adviseMemory(start, length, MADV.DONTNEED);
    return bytes;
  }
}

/**
 * Yields the areas of this process piecewise: reading the whole text would leave more memory behind than an idle
 * process uses.
 */
function* ownAreas(): Generator<MemoryArea> {
  using file = Deno.openSync("/proc/self/smaps");
  const decoder = new TextDecoder();
  const piece = new Uint8Array(PIECE_BYTES);
  let text = "";
  for (let length = file.readSync(piece); length !== null; length = file.readSync(piece)) {
    text += decoder.decode(piece.subarray(0, length), { stream: true });
    const last = text.lastIndexOf(LAST_LINE);
    const end = last < 0 ? 0 : text.indexOf("\n", last + 1) + 1;
    yield* parseSmaps(text.slice(0, end));
    text = text.slice(end);
  }
  yield* parseSmaps(text);
}
