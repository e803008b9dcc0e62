/**
 * What is mapped into this process, and how much of it is resident: /proc/self/smaps.
 *
 * A header for each area, `55b7b566d000-55b7b9361000 r-xp 01b8e000 fe:00 1327111    /path`, then lines such as
 * `Rss:   38740 kB`. Source: Documentation/filesystems/proc.rst 3.1, Linux 6.18.
 *
 * @module
 */
import { adviseMemory, MADV } from "./sys_mman.ts";

/** One mapped area. */
export interface MemoryArea {
  readonly start: bigint;
  /** Bytes. */
  readonly length: number;
  /** As "r-xp": read, write, execute, private or shared. */
  readonly permissions: string;
  /** Where in the file it begins. */
  readonly offset: number;
  /** Number of the file's inode; 0 where there is no file behind it. */
  readonly inode: number;
  /** Bytes that are in memory. */
  readonly residentBytes: number;
  /** Bytes that are in no file: written to and, as it is a private mapping, not the file's. */
  readonly anonymousBytes: number;
}

const HEADER = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (\d+)/;
const FIGURE = /^(Rss|Anonymous):\s+(\d+) kB$/;

/** The areas of a smaps text, or of a maps text, which has no figures, in its order. */
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

/** Bytes of smaps that are read at once: some twenty areas. */
const PIECE_BYTES = 16 * 1024;
/** Begins the last line of an area. */
const LAST_LINE = "\nVmFlags:";

/**
 * The areas that the program and its libraries have of their files, code and constants. Those of other files may be
 * unmapped by another thread, and something else be there in a moment.
 */
export function programAreas(areas: readonly MemoryArea[]): MemoryArea[] {
  const programs = new Set(areas.filter(({ permissions }) => permissions[2] === "x").map(({ inode }) => inode));
  return areas.filter(({ inode, permissions }) =>
    inode !== 0 && programs.has(inode) && permissions[1] !== "w" && permissions[3] === "p"
  );
}

/** What this process has of its program and libraries in memory. They stay where they are as long as it runs. */
export class ProgramPages {
  readonly #lengths: ReadonlyMap<bigint, number>;

  private constructor(areas: readonly MemoryArea[]) {
    this.#lengths = new Map(areas.map(({ start, length }) => [start, length]));
  }

  /** Of what is loaded now. Before the first Worker, which has areas of its own that go with it. */
  static loaded(): ProgramPages {
    return new ProgramPages(programAreas(parseSmaps(Deno.readTextFileSync("/proc/self/maps"))));
  }

  /**
   * Takes the pages out of this process; the kernel has them in its cache on, and whoever touches one gets it from
   * there. Most were needed by the start alone.
   *
   * @param keptBytes not more than so many stay as they are
   * @returns bytes that were dropped
   */
  drop(keptBytes = 0): number {
    // one with a page that is not the file's is passed over: relocated, or a debugger's
    const areas = ownAreas().filter(({ start, length, anonymousBytes }) =>
      anonymousBytes === 0 && this.#lengths.get(start) === length
    ).toArray();
    const bytes = areas.reduce((sum, { residentBytes }) => sum + residentBytes, 0);
    if (bytes <= keptBytes) return 0;
    for (const { start, length } of areas) adviseMemory(start, length, MADV.DONTNEED);
    return bytes;
  }
}

/** The areas of this process, some at a time: the whole text would leave more behind than a resting process has of its own. */
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
