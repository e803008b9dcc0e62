/**
 * Figures with medians and aims, and the tables that show them.
 *
 * @module
 */

/** One line of a table: values of one kind by system, in the order measured. */
export interface Figure {
  readonly name: string;
  /** Unit of the values: "s", "MB", "k/s". */
  readonly unit: string;
  readonly values: Readonly<Record<string, readonly number[]>>;
  readonly aim?: Aim;
}

/** Aim for the median of `of`, divided by that of `against` if given. */
export interface Aim {
  readonly of: string;
  readonly against?: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** Returns the median; NaN if there are no values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Returns the ratio (or value) that an aim concerns; undefined if a system was not measured. */
function achieved({ values }: Figure, { of, against }: Aim): number | undefined {
  const [own, other] = [values[of], against === undefined ? [1] : values[against]];
  return own === undefined || other === undefined ? undefined : median(own) / median(other);
}

/** Returns a Markdown table of medians, with a column for each system in any of the figures. */
export function markdown(title: string, figures: readonly Figure[]): string {
  const systems = [...new Set(figures.flatMap(({ values }) => Object.keys(values)))];
  const head = [title, ...systems, "ratio", "aim"];
  const lines = figures.map((figure) => [
    `${figure.name}, ${figure.unit}`,
    ...systems.map((system) => figure.values[system]).map((values) => values === undefined ? "" : show(median(values))),
    ...verdict(figure),
  ]);
  const widths = head.map((cell, column) => Math.max(cell.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const row = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [row(head), row(widths.map((width) => "-".repeat(width))), ...lines.map(row)].join("\n");
}

/** Returns the cells "ratio" and "aim". */
function verdict(figure: Figure): [ratio: string, aim: string] {
  const { aim } = figure;
  if (aim === undefined) return ["", ""];
  const value = achieved(figure, aim);
  const missing = [aim.of, aim.against].find((name) => name !== undefined && figure.values[name] === undefined);
  if (value === undefined) return [`no ${missing}`, ""];
  const reached = value >= (aim.atLeast ?? -Infinity) && value <= (aim.atMost ?? Infinity);
  const limit = aim.atLeast === undefined ? `<= ${aim.atMost}` : `>= ${aim.atLeast}`;
  const what = aim.against === undefined ? aim.of : `${aim.of} / ${aim.against}`;
  return [show(value), `${what} ${limit}: ${reached ? "reached" : "missed"}`];
}

/** Formats with at least three digits. */
function show(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
