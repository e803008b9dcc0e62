/**
 * What of an ELF file is read whenever it is loaded, told from its headers: which libraries it is linked with, and which
 * of its bytes the dynamic linker goes over before anything runs.
 *
 * ```
 * ELF header ─► program headers ─► interpreter, segments ─► dynamic section ─► names of libraries, relocations, symbols
 * ```
 * Offsets and sizes are bytes of the file; addresses are those of the dynamic section. 32 and 64 bits, both byte orders.
 * Source: System V ABI, gABI 4.1 and its draft of 2013, chapters 4 and 5; <elf.h>.
 *
 * Files are not trusted: what does not fit together is undefined, and ranges are cut where segments end.
 *
 * @module
 */

/** Bytes that the longest ELF header has. */
export const ELF_HEADER_BYTES = 64;

/** A dynamic section that is longer is no honest one: entries have 8 or 16 bytes, a linker writes some 40. */
const MAX_DYNAMIC_BYTES = 64 * 1024;

const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const ET = { exec: 2, dyn: 3 } as const;
const PT = { load: 1, dynamic: 2, interp: 3, relro: 0x6474e552 } as const;
const PF_W = 2;
const DT = {
  needed: 1,
  pltrelsz: 2,
  strtab: 5,
  symtab: 6,
  rela: 7,
  relasz: 8,
  init: 12,
  rpath: 15,
  rel: 17,
  relsz: 18,
  jmprel: 23,
  runpath: 29,
  relrsz: 35,
  relr: 36,
} as const;

/** Bytes of the file. */
export interface FileRange {
  readonly offset: number;
  readonly size: number;
}

interface Segment extends FileRange {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly memorySize: number;
}

/** Where the program headers are. */
export interface ElfHeader {
  readonly wide: boolean;
  readonly littleEndian: boolean;
  /** `e_machine`. */
  readonly machine: number;
  /** `e_entry`; 0 for a library. */
  readonly entry: number;
  readonly programHeaders: FileRange;
  readonly entrySize: number;
}

/** What the program headers say. */
export interface ElfProgram {
  readonly header: ElfHeader;
  readonly loads: readonly Segment[];
  /** Path of the dynamic linker, with a zero behind it. */
  readonly interpreter: FileRange | undefined;
  /** Undefined: linked statically. */
  readonly dynamic: FileRange | undefined;
  /** What is written to while it is loaded, and never again. */
  readonly relro: FileRange | undefined;
}

/** What the dynamic section says. */
export interface ElfDynamic {
  /** Where names of libraries are, each with a zero behind it. */
  readonly needed: readonly number[];
  /** Where folders are named in which they are looked for first, as those. */
  readonly searchPaths: readonly number[];
  /** What is read to load it, beside headers and dynamic section. */
  readonly loaded: readonly FileRange[];
}

/** The ELF header at the beginning of a file; undefined for what is no program or library. */
export function elfHeader(bytes: Uint8Array): ElfHeader | undefined {
  if (bytes.length < ELF_HEADER_BYTES || MAGIC.some((byte, k) => bytes[k] !== byte)) return undefined;
  const [wide, littleEndian] = [bytes[4] === 2, bytes[5] === 1];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const half = (at: number) => view.getUint16(at, littleEndian);
  const type = half(16);
  if (type !== ET.exec && type !== ET.dyn) return undefined;
  const [entrySize, count] = wide ? [half(54), half(56)] : [half(42), half(44)];
  const entry = wordAt(view, 24, wide, littleEndian);
  const offset = wordAt(view, wide ? 32 : 28, wide, littleEndian);
  if (entry === undefined || offset === undefined || entrySize < (wide ? 56 : 32) || count === 0) return undefined;
  const programHeaders = { offset, size: entrySize * count };
  return { wide, littleEndian, machine: half(18), entry, programHeaders, entrySize };
}

/** @param bytes of {@link ElfHeader.programHeaders} */
export function elfProgram(header: ElfHeader, bytes: Uint8Array): ElfProgram {
  const { wide, littleEndian, entrySize } = header;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const segments: Segment[] = [];
  for (let at = 0; at + entrySize <= bytes.length; at += entrySize) {
    const word = (narrowAt: number, wideAt: number) =>
      wordAt(view, at + (wide ? wideAt : narrowAt), wide, littleEndian);
    const [offset, address, size, memorySize] = [word(4, 8), word(8, 16), word(16, 32), word(20, 40)];
    if (offset === undefined || address === undefined || size === undefined || memorySize === undefined) continue;
    const flags = view.getUint32(at + (wide ? 4 : 24), littleEndian);
    segments.push({ type: view.getUint32(at, littleEndian), flags, offset, address, size, memorySize });
  }
  const first = (type: number) => segments.find((segment) => segment.type === type && segment.size > 0);
  return {
    header,
    loads: segments.filter(({ type, size }) => type === PT.load && size > 0),
    interpreter: first(PT.interp),
    dynamic: first(PT.dynamic),
    relro: first(PT.relro),
  };
}

/** @param bytes of {@link ElfProgram.dynamic}, or their beginning */
export function elfDynamic(program: ElfProgram, bytes: Uint8Array): ElfDynamic {
  const { wide, littleEndian, entry } = program.header;
  const view = new DataView(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_DYNAMIC_BYTES));
  const wordSize = wide ? 8 : 4;
  const values = new Map<number, number>();
  const names: number[] = [], paths: number[] = [];
  for (let at = 0; at + 2 * wordSize <= view.byteLength; at += 2 * wordSize) {
    const tag = wordAt(view, at, wide, littleEndian);
    const value = wordAt(view, at + wordSize, wide, littleEndian);
    if (tag === 0) break;
    if (tag === undefined || value === undefined) continue;
    if (tag === DT.needed) names.push(value);
    else if (tag === DT.rpath || tag === DT.runpath) paths.push(value);
    else values.set(tag, value);
  }
  const strings = values.get(DT.strtab), symbols = values.get(DT.symtab);
  const stringAt = (offset: number) => placeOf(program, (strings ?? 0) + offset, 1)?.offset;
  const table = (at: number | undefined, size: number | undefined) =>
    at === undefined || size === undefined ? undefined : placeOf(program, at, size);
  const relocations = [
    table(values.get(DT.rela), values.get(DT.relasz)),
    table(values.get(DT.rel), values.get(DT.relsz)),
    table(values.get(DT.relr), values.get(DT.relrsz)),
    table(values.get(DT.jmprel), values.get(DT.pltrelsz)),
  ].filter(isDefined);
  const init = values.get(DT.init);
  const others = [
    // the names stand behind the symbols, wherever a common linker made it
    symbols !== undefined && strings !== undefined && strings > symbols
      ? placeOf(program, symbols, strings - symbols)
      : undefined,
    relocations.length > 0 ? program.relro : undefined,
    ...program.loads.filter(({ flags, size, memorySize }) => (flags & PF_W) !== 0 && memorySize > size).map(lastByte),
    init === undefined ? undefined : placeOf(program, init, 1),
    entry === 0 ? undefined : placeOf(program, entry, 1),
  ].filter(isDefined);
  const placed = (offsets: readonly number[]) => strings === undefined ? [] : offsets.map(stringAt).filter(isDefined);
  return { needed: placed(names), searchPaths: placed(paths), loaded: [...relocations, ...others] };
}

/** The rest of its page is cleared, which has it read. */
function lastByte({ offset, size }: FileRange): FileRange {
  return { offset: offset + size - 1, size: 1 };
}

/** Where in the file an address is, as far as its segment goes; undefined for one that no segment has. */
function placeOf({ loads }: ElfProgram, address: number, size: number): FileRange | undefined {
  const load = loads.find((each) => address >= each.address && address < each.address + each.size);
  if (load === undefined || size <= 0) return undefined;
  const within = address - load.address;
  return { offset: load.offset + within, size: Math.min(size, load.size - within) };
}

/** An address or a size; undefined for one beyond what a file can have. */
function wordAt(view: DataView, at: number, wide: boolean, littleEndian: boolean): number | undefined {
  if (!wide) return view.getUint32(at, littleEndian);
  const value = view.getBigUint64(at, littleEndian);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value);
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined;
}
