/**
 * One 512-byte tar header: checksum, dialect, fields. Extended headers are handled by the reader.
 *
 * @module
 */
import { SLASH } from "../base/path_bytes.ts";
import type { Seconds } from "../base/seconds.ts";
import { toByteString } from "../base/bytes.ts";
import { BLOCK_SIZE, HEADER, MAGIC_GNU, MAGIC_USTAR, TarError } from "./tar.ts";
import { parseNumber, parseSeconds } from "./tar_numbers.ts";

/** Raw header fields. Names are copies. */
export interface RawHeader {
  /** One character: "0", "x", "L", …; NUL as in old archives becomes "0". */
  readonly typeFlag: string;
  /** True for a NUL type flag, under which a name that ends in "/" is a directory. */
  readonly oldStyle: boolean;
  readonly name: Uint8Array;
  readonly linkName: Uint8Array;
  /** All bits of the field. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: Seconds;
  readonly devMajor: number;
  readonly devMinor: number;
}

/** Whether the block is all zeros. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK_SIZE; i++) if (block[i] !== 0) return false;
  return true;
}

/**
 * Parses a header block.
 *
 * @param at its offset in the archive, for messages
 * @throws {TarError} for a wrong checksum or invalid numeric fields
 */
export function parseHeader(block: Uint8Array, at: number): RawHeader {
  verifyChecksum(block, at);
  const parsed = <T>(key: keyof typeof HEADER & string, parse: (field: Uint8Array, where: string) => T): T => {
    const [offset, length] = HEADER[key];
    return parse(block.subarray(offset, offset + length), `${key} at ${at + offset}`);
  };
  const number = (key: "mode" | "uid" | "gid" | "size" | "devMajor" | "devMinor") => parsed(key, parseNumber);
  const flag = block[HEADER.typeFlag[0]] as number;
  const typeFlag = flag === 0 ? "0" : String.fromCharCode(flag);
  const magic = toByteString(bytesOf(block, HEADER.magic));
  const isDevice = typeFlag === "3" || typeFlag === "4";
  const size = number("size");
  if (size < 0) throw new TarError(`Cannot read tar header at ${at}: size is ${size}`);
  return {
    typeFlag,
    oldStyle: flag === 0,
    name: fullName(block, magic),
    linkName: text(block, HEADER.linkName),
    mode: number("mode"),
    uid: number("uid"),
    gid: number("gid"),
    size,
    mtime: parsed("mtime", parseSeconds),
    devMajor: isDevice ? number("devMajor") : 0,
    devMinor: isDevice ? number("devMinor") : 0,
  };
}

/** The sum of all bytes with the checksum field as spaces. Some old writers summed signed bytes. */
export function checksums(block: Uint8Array): { unsigned: number; signed: number } {
  const [start, length] = HEADER.checksum;
  let unsigned = 0;
  let high = 0;
  for (let i = 0; i < BLOCK_SIZE; i++) {
    const byte = block[i] as number;
    unsigned += byte;
    if (byte > 127) high++;
  }
  for (let i = start; i < start + length; i++) {
    const byte = block[i] as number;
    unsigned += 0x20 - byte;
    if (byte > 127) high--;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

function verifyChecksum(block: Uint8Array, at: number): void {
  const [start, length] = HEADER.checksum;
  const { unsigned, signed } = checksums(block);
  let stored: number;
  try {
    stored = parseNumber(block.subarray(start, start + length), "checksum");
  } catch (cause) {
    throw new TarError(`Cannot read tar header at ${at}: checksum is not a number (not a tar?)`, "invalid-image", {
      cause,
    });
  }
  if (stored !== unsigned && stored !== signed) {
    throw new TarError(`Cannot read tar header at ${at}: checksum is ${stored}, expected ${unsigned}`);
  }
}

function fullName(block: Uint8Array, magic: string): Uint8Array {
  const name = text(block, HEADER.name);
  const prefix = prefixOf(block, magic);
  if (prefix.length === 0) return name;
  const out = new Uint8Array(prefix.length + 1 + name.length);
  out.set(prefix);
  out[prefix.length] = SLASH;
  out.set(name, prefix.length + 1);
  return out;
}

function bytesOf(block: Uint8Array, [offset, length]: readonly [number, number]): Uint8Array {
  return block.subarray(offset, offset + length);
}

const EMPTY = new Uint8Array(0);

function prefixOf(block: Uint8Array, magic: string): Uint8Array {
  if (magic.startsWith(MAGIC_USTAR.slice(0, 6))) { // any version, as for Go
    const isStar = toByteString(bytesOf(block, HEADER.starTrailer)) === "tar\0";
    return text(block, isStar ? HEADER.starPrefix : HEADER.prefix);
  }
  if (magic !== MAGIC_GNU || hasTimes(block)) return EMPTY;
  const prefix = text(block, HEADER.prefix);
  return prefix.every((byte) => byte < 0x80) ? prefix : EMPTY;
}

/**
 * Whether the fields that GNU has where others have the prefix are numbers. Go's writer before 1.8 put a prefix there if
 * a number of the header was in base 256, and layers of that time are read accordingly.
 */
function hasTimes(block: Uint8Array): boolean {
  return [HEADER.gnuAtime, HEADER.gnuCtime].every((field) =>
    /^[\x80-\xff]|^[ \0]*[0-7]* *(?:\0|$)/.test(toByteString(bytesOf(block, field)))
  );
}

/** A copy of a text field up to its NUL. */
function text(block: Uint8Array, [offset, length]: readonly [number, number]): Uint8Array {
  if (block[offset] === 0) return EMPTY;
  const end = block.indexOf(0, offset);
  return block.slice(offset, end < 0 || end > offset + length ? offset + length : end);
}
