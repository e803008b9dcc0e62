/**
 * Files that others write as well: what they are without our part, whatever was edited since.
 *
 * @module
 */
import { SNAPSHOTTER } from "./containerd/containerd_config.ts";
import { parseDaemonJson } from "./docker/daemon_json.ts";
import type { FileState } from "./file_state.ts";
import { revertChanges } from "./member_changes.ts";
import { isEdited, type RecordedFile, type SetupRecord } from "./record.ts";

/** A file's text without our part. */
export interface WithoutOurs {
  readonly text: string;
  /** What was ours, was changed since, and is therefore left. */
  readonly kept: readonly string[];
}

/** Removes our part of a file that was edited since. @throws {NydusGdError} "config" for what is no longer JSON */
export function withoutOurs({ path, members = [], block }: RecordedFile, current: FileState): WithoutOurs {
  if (block === undefined) return revertChanges(parseDaemonJson(current, path), members);
  const text = current.kind === "file" ? new TextDecoder().decode(current.bytes) : "";
  const at = text.indexOf(block);
  if (at < 0) return { text, kept: text.includes(SNAPSHOTTER) ? ["the lines that setup added"] : [] };
  const [above, below] = [text.slice(0, at), text.slice(at + block.length)];
  const isCut = above !== "" && below !== "" && !above.endsWith("\n");
  return { text: above + (isCut ? "\n" : "") + below, kept: [] };
}

/** The file as it would be without us: its original state, or its edited state without our part. */
export async function beforeOurs(record: SetupRecord, path: string, current: FileState): Promise<FileState> {
  const recorded = record.of(path);
  if (recorded === undefined || current.kind !== "file") return current;
  if (!isEdited(recorded, current)) return await record.before(recorded);
  return withText(current, withoutOurs(recorded, current).text);
}

/** A file with another text, and its mode and owner. */
export function withText(state: FileState & { readonly kind: "file" }, text: string): FileState {
  return { ...state, bytes: new TextEncoder().encode(text) };
}
