/**
 * PAX extended headers: records `<length> <key>=<value>\n`; the decimal length covers the whole record.
 *
 * Values are bytes, delimited by the record's length. So an extended attribute may contain newlines and NULs, and a
 * path need not be UTF-8 (the writer then adds `hdrcharset=BINARY`; readers accept raw bytes either way).
 *
 * @module
 */
import { type ByteString, fromByteString, toByteString } from "../base/bytes.ts";
import { type Seconds, secondsOf } from "../base/seconds.ts";
import { PAX_XATTR, PAX_XATTR_LIBARCHIVE, TarError } from "./tar.ts";

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/** Keys whose value becomes a C string and therefore must not hold a NUL. */
const TEXT_KEYS = new Set(["path", "linkpath", "uname", "gname", "GNU.sparse.name"]);

/** One record. */
export type PaxRecord = readonly [key: ByteString, value: Uint8Array];

/**
 * Parses the records of one extended header, in order, including duplicates. Values are views of `bytes`.
 *
 * @param at offset of `bytes` in the archive, for messages
 * @throws {TarError} for a record with a wrong length or without a key
 */
export function parsePaxRecords(bytes: Uint8Array, at: number): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let start = 0; start < bytes.length;) {
    const where = `Cannot read PAX record at ${at + start}`;
    const space = bytes.indexOf(SPACE, start);
    const digits = space < 0 || space - start > 9 ? "" : toByteString(bytes.subarray(start, space));
    if (!/^[0-9]+$/.test(digits)) throw new TarError(`${where}: length is not a decimal number`);
    const end = start + Number(digits);
    if (end > bytes.length) throw new TarError(`${where}: it ends ${end - bytes.length} bytes after its header`);
    if (end <= space || bytes[end - 1] !== NEWLINE) throw new TarError(`${where}: no newline at its end`);
    const equals = bytes.indexOf(EQUALS, space + 1);
    if (equals <= space + 1 || equals >= end) throw new TarError(`${where}: it has no key`);
    const key = toByteString(bytes.subarray(space + 1, equals));
    const value = bytes.subarray(equals + 1, end - 1);
    if (key.includes("\0") || TEXT_KEYS.has(key) && value.includes(0)) {
      throw new TarError(`${where}: "${key.replaceAll("\0", "\\0")}" contains NUL`);
    }
    records.push([key, value]);
    start = end;
  }
  return records;
}

/** Formats one record. */
export function formatPaxRecord(key: ByteString, value: Uint8Array): Uint8Array {
  const rest = key.length + value.length + 3; // space, "=", newline
  let length = rest;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  const head = fromByteString(`${length} ${key}=`);
  const out = new Uint8Array(length);
  out.set(head);
  out.set(value, head.length);
  out[length - 1] = NEWLINE;
  return out;
}

/** Parses a decimal number that must be a safe integer. */
export function parsePaxNumber(value: Uint8Array, key: string, at: number): number {
  const text = toByteString(value);
  const number = /^[-+]?[0-9]{1,19}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(number)) {
    throw new TarError(`Cannot read PAX header at ${at}: ${key} is ${JSON.stringify(text.slice(0, 40))}`);
  }
  return number;
}

/** Parses seconds and nanoseconds; decimals beyond nine are truncated. "-1.25" is second -2 and 750,000,000 ns. */
export function parsePaxTime(value: Uint8Array, key: string, at: number): { sec: Seconds; nsec: number } {
  const text = toByteString(value);
  const [, sign, digits, decimals = ""] = /^([-+]?)([0-9]{1,19})(?:\.([0-9]*))?$/.exec(text) ?? [];
  const fraction = Number(decimals.slice(0, 9).padEnd(9, "0"));
  const isBelow = sign === "-" && fraction > 0;
  const whole = BigInt(`${sign === "-" ? "-" : ""}${digits ?? 0}`) - (isBelow ? 1n : 0n);
  const sec = digits === undefined ? undefined : secondsOf(whole);
  if (sec === undefined) {
    throw new TarError(`Cannot read PAX header at ${at}: ${key} is ${JSON.stringify(text.slice(0, 40))}`);
  }
  return { sec, nsec: isBelow ? 1_000_000_000 - fraction : fraction };
}

/** The inverse of {@link parsePaxTime}, without trailing zeros. */
export function formatPaxTime(sec: Seconds, nsec: number): string {
  const negative = sec < 0;
  const full = BigInt(sec);
  const whole = !negative ? full : nsec > 0 ? -(full + 1n) : -full;
  const fraction = negative && nsec > 0 ? 1_000_000_000 - nsec : nsec;
  const decimals = fraction === 0 ? "" : "." + String(fraction).padStart(9, "0").replace(/0+$/, "");
  return `${negative ? "-" : ""}${whole}${decimals}`;
}

/**
 * Extended attributes in the records. If an attribute occurs in both forms, SCHILY's wins, because it is raw.
 *
 * @param libarchive whether LIBARCHIVE's form counts
 * @throws {TarError} for a LIBARCHIVE value that is not base64
 */
export function xattrsOf(
  records: ReadonlyMap<ByteString, Uint8Array>,
  at: number,
  libarchive: boolean,
): Map<ByteString, Uint8Array> {
  const xattrs = new Map<ByteString, Uint8Array>();
  for (const [key, value] of records) {
    if (key.startsWith(PAX_XATTR_LIBARCHIVE)) {
      if (!libarchive) continue;
      const name = key.slice(PAX_XATTR_LIBARCHIVE.length).replace(
        /%([0-9a-fA-F]{2})/g,
        (_, hex: string) => String.fromCharCode(parseInt(hex, 16)),
      );
      if (!records.has(PAX_XATTR + name)) xattrs.set(name, fromBase64(value, key, at));
    } else if (key.startsWith(PAX_XATTR)) {
      xattrs.set(key.slice(PAX_XATTR.length), value);
    }
  }
  for (const name of xattrs.keys()) {
    if (name === "" || name.includes("\0")) {
      throw new TarError(`Cannot read PAX header at ${at}: the name of an extended attribute is invalid`);
    }
  }
  return xattrs;
}

function fromBase64(value: Uint8Array, key: string, at: number): Uint8Array {
  try {
    return Uint8Array.fromBase64(toByteString(value));
  } catch {
    throw new TarError(`Cannot read PAX header at ${at}: ${key} is not base64`);
  }
}
