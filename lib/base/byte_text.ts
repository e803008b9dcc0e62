/**
 * Human-readable amounts of bytes.
 *
 * @module
 */

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Formats three digits in decimal units, as Docker shows sizes: 0 is "0 B", 1234567 is "1.23 MB". */
export function bytesText(bytes: number): string {
  let value = bytes, unit = 0;
  // 999.5 of a unit would be rounded to 1000
  while (value >= (unit === 0 ? 1000 : 999.5) && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}
