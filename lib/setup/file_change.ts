/**
 * A change to one file: its state before and after, and the diff.
 *
 * @module
 */
import { type FileState, fingerprint, textOf } from "./file_state.ts";
import type { OurPart } from "./record.ts";
import { unifiedDiff } from "./unified_diff.ts";

/** A planned change to one file. */
export interface FileChange {
  /** Path as seen by the machine. */
  readonly path: string;
  readonly current: FileState;
  readonly after: FileState;
  /** Follow a symbolic link, which others may have put in place of the file. */
  readonly follow: boolean;
  /** State that undo restores; {@link current} unless an earlier setup changed the file. */
  readonly before: FileState;
  /** For a file shared with others. */
  readonly ourPart?: OurPart;
}

/** Whether the file has to be changed. */
export function isChange({ current, after }: Pick<FileChange, "current" | "after">): boolean {
  return fingerprint(current) !== fingerprint(after);
}

/** The change as a unified diff. */
export function diffOf({ path, current, after }: Pick<FileChange, "path" | "current" | "after">): string {
  const name = (state: FileState) => state.kind === "none" ? "/dev/null" : path;
  return unifiedDiff([name(current), name(after)], textOf(current), textOf(after));
}
