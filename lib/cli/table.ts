/**
 * Formats text tables.
 *
 * @module
 */

/** Aligns columns two spaces apart, except the last one. The first row holds the headings. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths = columnWidths(rows);
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd());
}

/** The length of the longest of these lines, or a little more. */
export function tableWidth(rows: readonly (readonly string[])[]): number {
  return columnWidths(rows).reduce((sum, width) => sum + 2 + width, -2);
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  return (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
}
