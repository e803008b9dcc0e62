/**
 * Numbers in tar headers: octal text, and GNU's base-256 for values that do not fit in octal.
 *
 * In base-256, bit 7 of the first byte is the marker, bit 6 the sign, and the rest a big-endian two's complement
 * number.
 *
 * @module
 */
import { type Seconds, secondsOf } from "../base/seconds.ts";
import { TarError } from "./tar.ts";

const NUL = 0;
const SPACE = 0x20;
const DIGIT_0 = 0x30;
const DIGIT_7 = 0x37;

/**
 * Parses a numeric field. An empty field is 0.
 *
 * @param where names the field and its place in a message: "size at 1660"
 * @throws {TarError} if it is neither octal nor base-256, or beyond ±(2^53-1)
 */
export function parseNumber(field: Uint8Array, where: string): number {
  if (((field[0] ?? 0) & 0x80) !== 0) return parseBase256(field, where);
  let at = 0;
  let end = field.length;
  while (at < end && (field[at] === SPACE || field[at] === NUL)) at++;
  const terminator = field.indexOf(NUL, at);
  if (terminator >= 0) end = terminator;
  while (end > at && field[end - 1] === SPACE) end--;
  let value = 0;
  for (; at < end; at++) {
    const byte = field[at] as number;
    if (byte < DIGIT_0 || byte > DIGIT_7) {
      throw new TarError(`Cannot read tar ${where}: 0x${byte.toString(16).padStart(2, "0")} is not an octal digit`);
    }
    value = value * 8 + (byte - DIGIT_0);
  }
  return value; // 12 octal digits are 36 bits
}

/** Like {@link parseNumber}, for a time. @throws {TarError} also beyond 64 bits */
export function parseSeconds(field: Uint8Array, where: string): Seconds {
  if (((field[0] ?? 0) & 0x80) === 0) return parseNumber(field, where);
  const value = base256Of(field);
  const seconds = secondsOf(value);
  if (seconds === undefined) throw new TarError(`Cannot read tar ${where}: ${value} exceeds 64 bits`);
  return seconds;
}

function parseBase256(field: Uint8Array, where: string): number {
  const value = base256Of(field);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new TarError(`Cannot read tar ${where}: ${value} exceeds 2^53-1`);
  return number;
}

function base256Of(field: Uint8Array): bigint {
  const negative = ((field[0] as number) & 0x40) !== 0;
  let value = BigInt((field[0] as number) & 0x3f);
  for (let i = 1; i < field.length; i++) value = value << 8n | BigInt(field[i] as number);
  return negative ? value - (1n << BigInt(field.length * 8 - 2)) : value;
}

/** Whether `value` fits into a field of `width` bytes as octal text with a terminator. */
export function fitsOctal(value: number, width: number): boolean {
  return value >= 0 && value < 8 ** (width - 1);
}

/** Writes octal text, zero-padded, with a terminating NUL. The value must fit. */
export function writeOctal(field: Uint8Array, value: number): void {
  const text = value.toString(8).padStart(field.length - 1, "0");
  for (let i = 0; i < text.length; i++) field[i] = text.charCodeAt(i);
  field[field.length - 1] = NUL;
}
