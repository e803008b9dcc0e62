/**
 * `docker create --storage-opt`: limits the data that one container may write.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";

/** "10G", "512m", "1.5GiB", "1048576" (bytes), as parsed by Docker: K is 1024, with or without an i. */
const SIZE = /^(\d+(?:\.\d+)?)\s?(?:([kmgtp])i?b?|b)?$/i;
const UNITS = "kmgtp";

/**
 * The limit in the options of one layer.
 *
 * @param options values by key
 * @param what the intended action, for errors: "create layer x"
 * @returns bytes, 0 for explicitly none; undefined: the default
 * @throws {NydusGdError} "usage" for options that no driver accepts
 */
export function sizeLimitOf(options: Readonly<Record<string, string>>, what: string): number | undefined {
  let limit: number | undefined;
  for (const [key, value] of Object.entries(options)) {
    if (key.toLowerCase() !== "size") {
      throw new NydusGdError("usage", `Cannot ${what}: storage option "${key}" is unknown`, {
        hint: "omit --storage-opt, or set size",
      });
    }
    limit = parseSize(value, what);
  }
  return limit;
}

/**
 * Parses a size in Docker's notation to bytes.
 *
 * @throws {NydusGdError} "usage"
 */
export function parseSize(text: string, what: string): number {
  const [, count, unit = ""] = SIZE.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(count) * 1024 ** (UNITS.indexOf(unit.toLowerCase()) + (unit === "" ? 0 : 1)));
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new NydusGdError("usage", `Cannot ${what}: size ${JSON.stringify(text)} is not a size`, {
    hint: "a size is a number with a unit, such as 10G",
  });
}
