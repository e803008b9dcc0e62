/**
 * ELF parser: which libraries a file needs, and which of its bytes the dynamic linker reads before the program runs.
 *
 * ```
 * ELF header ─► program headers ─► interpreter, segments ─► dynamic section ─► names of libraries, relocations, symbols
 * ```
 * Offsets and sizes are bytes of the file; addresses are those of the dynamic section. Supports 32 and 64 bits and both
 * byte orders. Source: System V ABI, gABI 4.1 and its draft of 2013, chapters 4 and 5; <elf.h>.
 *
 * Files are not trusted: inconsistent values yield undefined, and ranges are cut at the end of their segment.
 *
 * @module
 */

/** Maximum size of an ELF header in bytes. */
export const ELF_HEADER_BYTES = 64;

/** Maximum size of a dynamic section. Linkers write some 40 entries of 8 or 16 bytes. */
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

/** A range of bytes in the file. */
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

/** The ELF header, with the position of the program headers. */
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

/** The contents of the program headers. */
export interface ElfProgram {
  readonly header: ElfHeader;
  readonly loads: readonly Segment[];
  /** Path of the dynamic linker, NUL-terminated. */
  readonly interpreter: FileRange | undefined;
  /** Undefined for a statically linked file. */
  readonly dynamic: FileRange | undefined;
  /** Data that is written only while the file is loaded. */
  readonly relro: FileRange | undefined;
}

/** The contents of the dynamic section. */
export interface ElfDynamic {
  /** File offsets of the names of needed libraries, NUL-terminated. */
  readonly needed: readonly number[];
  /** File offsets of library search paths, NUL-terminated. */
  readonly searchPaths: readonly number[];
  /** Ranges that loading reads in addition to the headers and the dynamic section. */
  readonly loaded: readonly FileRange[];
}

/** Parses the ELF header at the start of a file; undefined if it is neither a program nor a library. */
export function elfHeader(bytes: Uint8Array): ElfHeader | undefined {
  if (bytes.length < ELF_HEADER_BYTES || MAGIC.some((byte, k) => bytes[k] !== byte)) return undefined;
  const [wide, littleEndian] = [bytes[4] === 2, bytes[5] === 1];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const half = (at: number) => view.getUint16(at, littleEndian);
  const type = half(16);
  if (type !== ET.exec && type !== ET.dyn) return undefined;
  const [entrySize, count] = wide ? [half(54), half(56)] : [half(42), half(44)];
  const entry = wordAt(view, 24, { wide, littleEndian });
  const offset = wordAt(view, wide ? 32 : 28, { wide, littleEndian });
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
    const word = (narrowAt: number, wideAt: number) => wordAt(view, at + (wide ? wideAt : narrowAt), header);
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
  const { wide, entry } = program.header;
  const view = new DataView(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_DYNAMIC_BYTES));
  const wordSize = wide ? 8 : 4;
  const values = new Map<number, number>();
  const names: number[] = [], paths: number[] = [];
  for (let at = 0; at + 2 * wordSize <= view.byteLength; at += 2 * wordSize) {
    const tag = wordAt(view, at, program.header);
    const value = wordAt(view, at + wordSize, program.header);
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
    // common linkers place the string table right after the symbol table
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

/** Returns the last byte of a segment. The loader zeroes the rest of its page, which reads the page. */
function lastByte({ offset, size }: FileRange): FileRange {
  return { offset: offset + size - 1, size: 1 };
}

/** Translates an address range to file offsets, cut at the end of its segment; undefined if no segment contains it. */
function placeOf({ loads }: ElfProgram, address: number, size: number): FileRange | undefined {
  const load = loads.find((each) => address >= each.address && address < each.address + each.size);
  if (load === undefined || size <= 0) return undefined;
  const within = address - load.address;
  return { offset: load.offset + within, size: Math.min(size, load.size - within) };
}

/** Reads an address or a size; undefined if it exceeds 2^53. */
function wordAt(
  view: DataView,
  at: number,
  { wide, littleEndian }: Pick<ElfHeader, "wide" | "littleEndian">,
): number | undefined {
  if (!wide) return view.getUint32(at, littleEndian);
  const value = view.getBigUint64(at, littleEndian);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value);
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined;
}
