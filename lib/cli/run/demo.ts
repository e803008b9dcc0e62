/**
 * Implements `nydus-gd demo`: runs the demonstration and prints its table.
 *
 * @module
 */
import { type DemoResult, type DemoRun, LINK, runDemo } from "../../demo/demo.ts";
import type { ActionContext, DemoArgs } from "../actions.ts";
import { ScratchFolder } from "./scratch_folder.ts";

/** Runs the demonstration in a scratch folder, which is removed afterwards. */
export async function demo(_args: DemoArgs, { signal, stdout, stderr }: ActionContext): Promise<void> {
  await using scratch = await ScratchFolder.make();
  const startedAt = performance.now();
  const progress = (step: string) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0).padStart(3);
    stderr.write(`${seconds} s  ${step}\n`);
  };
  stdout.write(table(await runDemo(scratch.path, progress, signal)));
}

/** Formats the comparison, one line per figure. */
function table(result: DemoResult): string {
  const { classic, lazy } = result;
  const rows: [string, (run: DemoRun) => number, (value: number) => string][] = [
    ["docker pull", (run) => run.pullMs, seconds],
    ["docker run until ready", (run) => run.startMs, seconds],
    ["together", (run) => run.pullMs + run.startMs, seconds],
    ["bytes pulled", (run) => run.pulled.bytes, megabytes],
    ["bytes when ready", (run) => run.total.bytes, megabytes],
    ["requests when ready", (run) => run.total.requests, String],
  ];
  const width = 24;
  const line = (cells: string[]) =>
    cells.map((cell, k) => k === 0 ? cell.padEnd(width) : cell.padStart(12)).join("") + "\n";
  return [
    "\n",
    `${result.packages} packages, ${megabytes(result.plainBytes)} as files, ${
      megabytes(result.layerBytes)
    } as a layer; `,
    `link ${megabytes(LINK.bytesPerSecond)}/s, ${LINK.delayMs} ms a request\n\n`,
    line(["", classic.name, lazy.name, "ratio"]),
    ...rows.map(([title, value, show]) => {
      const [ours, theirs] = [value(lazy), value(classic)];
      return line([title, show(theirs), show(ours), ours === 0 ? "" : `${(theirs / ours).toFixed(1)}x`]);
    }),
  ].join("");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
