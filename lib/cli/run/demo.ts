/**
 * Implements `nydus-gd demo`: runs the demonstration and prints its table.
 *
 * @module
 */
import { type DemoResult, type DemoRun, LINK, runDemo } from "../../demo/demo.ts";
import type { ActionContext, DemoArgs } from "../actions.ts";
import { tableLines } from "../table.ts";
import { ScratchFolder } from "./scratch_folder.ts";

const FIGURE_WIDTH = 9;

/** Runs the demonstration in a scratch folder, which is removed afterwards. */
export async function demo(_args: DemoArgs, { signal, stdout, stderr }: ActionContext): Promise<void> {
  await using scratch = await ScratchFolder.make();
  const startedAt = performance.now();
  const progress = (step: string) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0).padStart(3);
    stderr.write(`${seconds} s  ${step}\n`);
  };
  stdout.write(demoTable(await runDemo(scratch.path, progress, signal)));
}

/** Formats the comparison, one line per figure. */
export function demoTable(result: DemoResult): string {
  const { classic, lazy } = result;
  const row = (title: string, of: (run: DemoRun) => number, show: (value: number) => string) => [
    title,
    ...[classic, lazy].map((run) => show(of(run)).padStart(FIGURE_WIDTH)),
  ];
  const compared = ([title, of, show]: Parameters<typeof row>, better: string, worse: string) => {
    const ratio = of(classic) / of(lazy);
    return [...row(title, of, show), ratio >= 1 ? `${times(ratio)} ${better}` : `${times(1 / ratio)} ${worse}`];
  };
  const size = `${result.packages} packages, ${megabytes(result.plainBytes)} as files`;
  return [
    "",
    `${size}, ${megabytes(result.layerBytes)} as a layer; link ${
      megabytes(LINK.bytesPerSecond)
    }/s, ${LINK.delayMs} ms a request`,
    "",
    ...tableLines([
      ["", classic.name.padStart(FIGURE_WIDTH), lazy.name.padStart(FIGURE_WIDTH), ""],
      row("docker pull", (run) => run.pullMs, seconds),
      row("docker run until ready", (run) => run.startMs, seconds),
      compared(["together", (run) => run.pullMs + run.startMs, seconds], "sooner", "later"),
      row("bytes fetched by docker pull", (run) => run.pulled.bytes, megabytes),
      compared(["bytes fetched when ready", (run) => run.total.bytes, megabytes], "less", "more"),
      row("requests when ready", (run) => run.total.requests, String),
    ]),
    "",
  ].join("\n");
}

function times(ratio: number): string {
  return `${ratio.toFixed(ratio < 10 ? 1 : 0)} times`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
