/**
 * Parsers for the values of settings, from TOML or from the environment, where everything is text.
 *
 * @module
 */

/** A value, or an error such as "must be …, not …". */
export type ReadResult<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly state: string };

/** Parses one kind of value. */
export type Reader<T> = (input: unknown) => ReadResult<T>;

/** A limit on disk space: bytes, or a share of the file system. */
export type SizeLimit = { readonly bytes: number } | { readonly percent: number };

/** Converts a limit to bytes on a file system of `totalBytes`. */
export function limitInBytes(limit: SizeLimit, totalBytes: number): number {
  return "bytes" in limit ? limit.bytes : Math.floor(totalBytes * limit.percent / 100);
}

const DECIMAL: Readonly<Record<string, number>> = { "": 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const BINARY: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Maximum duration; anything above a day is taken for a wrong unit. */
const MAX_DURATION_MS = 24 * 3_600_000;

const ok = <T>(value: T): ReadResult<T> => ({ ok: true, value });

function wrong(expected: string, input: unknown): ReadResult<never> {
  const shown = typeof input === "string" ? JSON.stringify(input.slice(0, 60)) : kindOf(input);
  return { ok: false, state: `must be ${expected}, not ${shown}` };
}

function kindOf(input: unknown): string {
  if (typeof input === "number" || typeof input === "boolean" || typeof input === "bigint") return String(input);
  if (Array.isArray(input)) return "a list";
  return input instanceof Date ? "a date" : "a table";
}

/** `"80%"`, `"10GiB"`, `"500MB"`, `1048576`. */
export function size(input: unknown): ReadResult<SizeLimit> {
  const percent = typeof input === "string" ? /^(\d{1,3}(?:\.\d+)?)\s*%$/.exec(input.trim()) : null;
  if (percent !== null && Number(percent[1]) <= 100) return ok({ percent: Number(percent[1]) });
  const bytes = parseBytes(input);
  return bytes === undefined ? wrong('a size such as "80%", "10GiB" or a number of bytes', input) : ok({ bytes });
}

/** `"1MiB"`, `0`: bytes, without percentages. */
export function bytes(input: unknown): ReadResult<number> {
  const value = parseBytes(input);
  return value === undefined ? wrong('a size such as "1MiB" or a number of bytes', input) : ok(value);
}

/** `"50MiB"` or `"50MiB/s"`, bytes per second; `"unlimited"` is undefined. */
export function ratePerSecond(input: unknown): ReadResult<number | undefined> {
  if (input === "unlimited") return ok(undefined);
  const bytes = parseBytes(typeof input === "string" ? input.replace(/\/s$/, "") : input);
  return bytes === undefined || bytes === 0 ? wrong('"unlimited" or bytes a second such as "50MiB"', input) : ok(bytes);
}

/** `"5s"`, `"500ms"`, `"2m"`, `"1h"`, or a number of seconds. Returns milliseconds, from 1 to a day. */
export function duration(input: unknown): ReadResult<number> {
  const text = typeof input === "number" ? `${input}s` : typeof input === "string" ? input.trim() : "";
  const match = /^(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h)?$/.exec(text);
  const milliseconds = match === null ? NaN : Math.round(Number(match[1]) * (DURATIONS[match[2] ?? "s"] ?? NaN));
  return milliseconds >= 1 && milliseconds <= MAX_DURATION_MS
    ? ok(milliseconds)
    : wrong('a time such as "5s", at most 24h', input);
}

/** An integer from `min` to `max`. */
export function count(min: number, max: number): Reader<number> {
  return (input) => {
    const value = typeof input === "string" && /^\d{1,9}$/.test(input.trim()) ? Number(input) : input;
    return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
      ? ok(value)
      : wrong(`an integer from ${min} to ${max}`, input);
  };
}

/** `true`, `false`; in the environment also 1 and 0. */
export function boolean(input: unknown): ReadResult<boolean> {
  const words = new Map([["true", true], ["false", false], ["1", true], ["0", false]]);
  const value = typeof input === "boolean" ? input : typeof input === "string" ? words.get(input.trim()) : undefined;
  return value === undefined ? wrong("true or false", input) : ok(value);
}

/** One of the given words. */
export function choice<const T extends readonly string[]>(words: T): Reader<T[number]> {
  return (input) =>
    words.includes(input as T[number])
      ? ok(input as T[number])
      : wrong(`one of ${words.map((word) => JSON.stringify(word)).join(", ")}`, input);
}

/** Any text that is not empty. */
export function text(input: unknown): ReadResult<string> {
  return typeof input === "string" && input !== "" ? ok(input) : wrong("a text", input);
}

/** `"/var/lib/nydus-gd"`. */
export function absolutePath(input: unknown): ReadResult<string> {
  return typeof input === "string" && input.startsWith("/") ? ok(input) : wrong("an absolute path", input);
}

/** `"127.0.0.1:9100"`, `"[::1]:9100"`. */
export function hostAndPort(input: unknown): ReadResult<string> {
  const match = typeof input === "string" ? /^(?:[\w.-]+|\[[\da-fA-F:]+\]):(\d{1,5})$/.exec(input) : null;
  return match !== null && Number(match[1]) >= 1 && Number(match[1]) <= 65535
    ? ok(match[0])
    : wrong('HOST:PORT such as "127.0.0.1:9100"', input);
}

/** `["registry.example.com", "127.0.0.1:5000"]`; comma-separated in the environment. */
export function hosts(input: unknown): ReadResult<readonly string[]> {
  const words = typeof input === "string" ? input.split(",").map((word) => word.trim()) : input;
  const isHost = (word: unknown) =>
    typeof word === "string" && /^(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d{1,5})?$/.test(word);
  return Array.isArray(words) && words.every(isHost) ? ok(words) : wrong("a list of HOST or HOST:PORT", input);
}

function parseBytes(input: unknown): number | undefined {
  const text = typeof input === "number" ? String(input) : typeof input === "string" ? input.trim() : "";
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s*(?:([KMGT])(iB|B)?|B)?$/i.exec(text);
  if (match === null) return undefined;
  const unit = (match[2] ?? "").toUpperCase();
  const factor = match[3]?.toLowerCase() === "ib" ? BINARY[unit] : DECIMAL[unit];
  const bytes = Number(match[1]) * (factor ?? NaN);
  return Number.isSafeInteger(Math.floor(bytes)) ? Math.floor(bytes) : undefined;
}
