/**
 * The difference of two texts in the unified format, for people and for patch(1).
 *
 * ```
 * --- /etc/docker/daemon.json
 * +++ /etc/docker/daemon.json
 * @@ -1,3 +1,4 @@
 *  {
 * -  "a": 1
 * +  "a": 1,
 * +  "b": true
 *  }
 * ```
 * For files of a few hundred lines: the longest common subsequence takes time and memory by the product of their lengths.
 *
 * @module
 */

/** Lines shown around a change. */
const CONTEXT = 3;

interface Step {
  readonly kind: " " | "-" | "+";
  readonly line: string;
}

/**
 * The difference; "" where there is none.
 *
 * @param names what stands behind `---` and `+++`; `/dev/null` for a file that is not there
 */
export function unifiedDiff(names: readonly [before: string, after: string], before: string, after: string): string {
  if (before === after) return "";
  const steps = stepsBetween(linesOf(before), linesOf(after));
  const changed = steps.flatMap(({ kind }, index) => kind === " " ? [] : [index]);
  const hunks: [start: number, end: number][] = [];
  for (const index of changed) {
    const last = hunks.at(-1);
    const [start, end] = [Math.max(0, index - CONTEXT), Math.min(steps.length, index + CONTEXT + 1)];
    if (last !== undefined && start <= last[1]) last[1] = end;
    else hunks.push([start, end]);
  }
  return [`--- ${names[0]}\n+++ ${names[1]}\n`, ...hunks.map(([start, end]) => hunk(steps, start, end))].join("");
}

function hunk(steps: readonly Step[], start: number, end: number): string {
  const count = (kind: "-" | "+", from: number, to: number) =>
    steps.slice(from, to).filter((step) => step.kind === " " || step.kind === kind).length;
  const range = (kind: "-" | "+") => {
    const lines = count(kind, start, end);
    const first = count(kind, 0, start) + (lines === 0 ? 0 : 1);
    return lines === 1 ? `${first}` : `${first},${lines}`;
  };
  const lines = steps.slice(start, end).map(({ kind, line }) =>
    kind + (line.endsWith("\n") ? line : `${line}\n\\ No newline at end of file\n`)
  );
  return `@@ -${range("-")} +${range("+")} @@\n${lines.join("")}`;
}

/** With their ends. */
function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function stepsBetween(a: readonly string[], b: readonly string[]): Step[] {
  // longest[i][j]: lines that a from i and b from j have in common, in order
  const longest = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  const at = (i: number, j: number) => longest[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    const row = longest[i] ?? new Uint32Array();
    for (let j = b.length - 1; j >= 0; j--) {
      row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const steps: Step[] = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    const [mine, other] = [a[i], b[j]];
    if (mine !== undefined && mine === other) {
      steps.push({ kind: " ", line: mine });
      i++;
      j++;
    } else if (mine !== undefined && (other === undefined || at(i + 1, j) >= at(i, j + 1))) {
      steps.push({ kind: "-", line: mine });
      i++;
    } else {
      steps.push({ kind: "+", line: other ?? "" });
      j++;
    }
  }
  return steps;
}
