/**
 * A run of setup or of its undo, and the steps that both take: files are written, services are restarted.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import type { FileChange } from "./file_change.ts";
import type { Host } from "./host.ts";
import { isEdited, isShared, type SetupRecord } from "./record.ts";

/** Called with a description of each step before it starts. */
export type OnStep = (step: string) => void;

/** A run. The signal is checked between steps. */
export interface SetupRun {
  readonly host: Host;
  readonly record: SetupRecord;
  readonly progress: OnStep;
  readonly signal: AbortSignal;
}

/** Keeps a copy of a file that is entirely ours but was edited, before it is replaced or removed. */
export async function keepIfEdited({ record, progress }: SetupRun, { path, current }: FileChange): Promise<void> {
  const recorded = record.of(path);
  if (recorded === undefined || isShared(recorded) || !isEdited(recorded, current)) return;
  progress(`keep a copy of ${path} as ${await record.keepEdited(path, current)}`);
}

/** Calls `start` for each service. @param services arguments of systemctl */
export async function eachService(
  { progress, signal }: Pick<SetupRun, "progress" | "signal">,
  services: readonly (readonly string[])[],
  start: (words: readonly string[]) => Promise<unknown>,
): Promise<void> {
  for (const words of services) {
    throwIfAborted(signal);
    progress(`systemctl ${words.join(" ")}`);
    await start(words);
  }
}
