/**
 * ELF files without a linker: headers, a dynamic section and what it refers to, no code.
 *
 * ```
 * 0 headers, interpreter, symbols, names │ gap │ relocations │ gap │ code │ gap │ relro with the dynamic section, data
 * ```
 * Each part begins at a multiple of `unit` bytes. Addresses equal offsets, except in the last segment, which is 0x10000
 * higher.
 *
 * @module
 */

/** Content of the file. */
export interface ElfFileOptions {
  readonly wide?: boolean;
  readonly littleEndian?: boolean;
  /** ET_EXEC 2, ET_DYN 3, or others. */
  readonly type?: number;
  readonly machine?: number;
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly runpath?: string;
  readonly entry?: boolean;
  readonly unit?: number;
}

/** Offsets of the parts, in units. */
export const ELF_UNITS = { relocations: 2, code: 4, data: 6, end: 8 } as const;

const HIGHER = 0x10000;

/** The file's bytes. */
export function elfFile(options: ElfFileOptions = {}): Uint8Array<ArrayBuffer> {
  const { wide = true, littleEndian = true, unit = 4096, needed = [], runpath, interpreter } = options;
  const [relocations, code, data, end] = [
    ELF_UNITS.relocations * unit,
    ELF_UNITS.code * unit,
    ELF_UNITS.data * unit,
    ELF_UNITS.end * unit,
  ];
  // no two units or machines have equal bytes: those would be one chunk
  const bytes = Uint8Array.from({ length: end }, (_, at) => at % 251 + at / unit + 31 * (options.machine ?? 0));
  const view = new DataView(bytes.buffer);
  const half = (at: number, value: number) => view.setUint16(at, value, littleEndian);
  const wordSize = wide ? 8 : 4;
  const word = (at: number, value: number) =>
    wide ? view.setBigUint64(at, BigInt(value), littleEndian) : view.setUint32(at, value, littleEndian);
  const headerSize = wide ? 64 : 52, entrySize = wide ? 56 : 32;
  const segments = [
    ...(interpreter === undefined ? [] : [[3, 4, 1024, 1024, interpreter.length + 1, interpreter.length + 1]]),
    [1, 4, 0, 0, code, code],
    [1, 5, code, code, unit, unit],
    [1, 6, data, data + HIGHER, unit + 64, 2 * unit],
    [2, 6, data + 64, data + 64 + HIGHER, 512, 512],
    [0x6474e552, 4, data, data + HIGHER, unit, unit],
  ] as const;
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, littleEndian ? 1 : 2, 1]);
  half(16, options.type ?? 3);
  half(18, options.machine ?? 62);
  word(24, options.entry === true ? code : 0);
  word(wide ? 32 : 28, headerSize);
  half(wide ? 54 : 42, entrySize);
  half(wide ? 56 : 44, segments.length);
  segments.forEach(([type, flags, offset, address, size, memorySize], k) => {
    const at = headerSize + k * entrySize;
    view.setUint32(at, type, littleEndian);
    view.setUint32(at + (wide ? 4 : 24), flags, littleEndian);
    [offset, address, address, size, memorySize].forEach((value, field) =>
      word(at + (wide ? 8 : 4) + field * wordSize, value)
    );
  });
  const text = (at: number, value: string) => bytes.set(new TextEncoder().encode(`${value}\0`), at);
  if (interpreter !== undefined) text(1024, interpreter);
  const symbols = 2048, strings = 2560;
  let nextName = 1;
  const nameOf = (value: string) => {
    const at = nextName;
    text(strings + at, value);
    nextName += value.length + 1;
    return at;
  };
  const dynamic = [
    ...needed.map((name) => [1, nameOf(name)] as const),
    ...(runpath === undefined ? [] : [[29, nameOf(runpath)] as const]),
    [5, strings],
    [6, symbols],
    [7, relocations],
    [8, unit],
    [12, code],
    [0, 0],
  ] as const;
  dynamic.forEach(([tag, value], k) => {
    word(data + 64 + 2 * k * wordSize, tag);
    word(data + 64 + (2 * k + 1) * wordSize, value);
  });
  return bytes;
}
