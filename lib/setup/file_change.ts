/**
 * One file of a plan: what it is, what it will be, and how that is shown.
 *
 * @module
 */
import { type FileState, fingerprint, textOf } from "./file_state.ts";
import type { MemberChange } from "./member_changes.ts";
import { unifiedDiff } from "./unified_diff.ts";

/** See the module. */
export interface FileChange {
  /** As the machine knows it. */
  readonly path: string;
  readonly current: FileState;
  readonly after: FileState;
  /** A link is followed, as others may have made it one. */
  readonly follow: boolean;
  /** What undoing makes of it; {@link current} unless an earlier setup changed it. */
  readonly before: FileState;
  /** Of a JSON file that is shared with others. */
  readonly members?: readonly MemberChange[];
}

/** Whether anything is to be done. */
export function isChange({ current, after }: Pick<FileChange, "current" | "after">): boolean {
  return fingerprint(current) !== fingerprint(after);
}

/** The change in the unified format. */
export function diffOf({ path, current, after }: Pick<FileChange, "path" | "current" | "after">): string {
  const name = (state: FileState) => state.kind === "none" ? "/dev/null" : path;
  return unifiedDiff([name(current), name(after)], textOf(current), textOf(after));
}
