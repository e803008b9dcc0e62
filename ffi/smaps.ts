/**
 * What is mapped into this process, and how much of it is resident: /proc/self/smaps.
 *
 * A header for each area, `55b7b566d000-55b7b9361000 r-xp 01b8e000 fe:00 1327111    /path`, then lines such as
 * `Rss:   38740 kB`. Source: Documentation/filesystems/proc.rst 3.1, Linux 6.18.
 *
 * @module
 */
import { statFields } from "./procfs.ts";
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

/** The areas of a smaps text, in its order. */
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

/** Fields of /proc/self/stat behind the program's name, counted from its state: where its text begins and ends. */
const STAT_FIELD = { startCode: 23, endCode: 24 } as const;

/**
 * The areas of the program that runs, code and constants, as they were loaded: they stay where they are as long as it
 * runs. Other mappings of its file are not among them.
 *
 * @param stat text of /proc/self/stat
 */
export function programAreas(areas: readonly MemoryArea[], stat: string): MemoryArea[] {
  const code = textOf(stat);
  const text = areas.find(({ start, length }) => start <= code.start && code.start < start + BigInt(length));
  const first = areas.find(({ inode, offset }) => inode === text?.inode && offset === 0);
  if (text === undefined || text.inode === 0 || first === undefined) return [];
  return areas.filter(({ start, inode, permissions }) =>
    inode === text.inode && start >= first.start && start < code.end && permissions[1] !== "w"
  );
}

function textOf(stat: string): { readonly start: bigint; readonly end: bigint } {
  const fields = statFields(stat);
  return { start: BigInt(fields[STAT_FIELD.startCode] ?? 0), end: BigInt(fields[STAT_FIELD.endCode] ?? 0) };
}

/** Bytes of smaps that are read at once: some twenty areas. */
const PIECE_BYTES = 16 * 1024;

/**
 * Takes the pages of the program that runs out of this process; the kernel has them in its cache on, and whoever touches
 * one gets it from there. Most were needed by the start alone.
 *
 * @returns bytes
 */
export function dropProgramPages(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  let dropped = 0;
  for (const area of programAreas(areasUpTo(textOf(stat).end), stat)) {
    if (area.anonymousBytes > 0) continue; // a page of it is not the file's: a debugger's, say
    adviseMemory(area.start, area.length, MADV.DONTNEED);
    dropped += area.residentBytes;
  }
  return dropped;
}

/** The areas of this process that begin before `end`, and some more. They come in ascending order: not all are counted. */
function areasUpTo(end: bigint): MemoryArea[] {
  using file = Deno.openSync("/proc/self/smaps");
  const decoder = new TextDecoder();
  const piece = new Uint8Array(PIECE_BYTES);
  for (let text = "";;) {
    const length = file.readSync(piece);
    text += decoder.decode(piece.subarray(0, length ?? 0), { stream: true });
    const areas = parseSmaps(text);
    if (length === null || (areas.at(-1)?.start ?? 0n) >= end) return areas;
  }
}
