/**
 * Record of the changes made by setup, written to disk before each change: enough to restore everything after an
 * interruption at any point.
 *
 * ```
 * <state>/setup/record.json       each file: original state, contents written, our members
 *               backup/<path>.…   the original file
 *               edited/<path>     copy of an edited file of ours that was replaced by force
 * ```
 * A file counts as unedited if its content is one that setup wrote. The original state stays on record when later
 * versions are written over it.
 *
 * @module
 */
import { dirname } from "node:path";
import * as v from "valibot";
import { isErrno } from "../../ffi/errno.ts";
import { AT } from "../../ffi/fcntl.ts";
import { unlinkat } from "../../ffi/unistd.ts";
import { ignore, NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import { formatPath, parseWith } from "../base/schema.ts";
import { removeTree } from "../base/remove_tree.ts";
import { type FileState, fingerprint, NO_FILE, readFileState, writeFileState } from "./file_state.ts";
import type { Host } from "./host.ts";
import { MemberChanges } from "./member_changes.ts";

const RecordedFile = v.object({
  /** Path as seen by the machine. */
  path: v.string(),
  /** Original state. The content of a file is in backup/. */
  before: v.variant("kind", [
    v.object({ kind: v.literal("none") }),
    v.object({ kind: v.literal("link"), target: v.string() }),
    v.object({ kind: v.literal("file"), fingerprint: v.string() }),
  ]),
  /** Fingerprints of all contents written, in order. */
  written: v.array(v.string()),
  /** For a JSON file shared with others. */
  members: v.exactOptional(MemberChanges),
  /** For another text file shared with others: what was appended. */
  block: v.exactOptional(v.string()),
  /** Directories created for it, outermost first. */
  folders: v.array(v.string()),
});
export type RecordedFile = v.InferOutput<typeof RecordedFile>;

/** What is ours in a file shared with others. */
export type OurPart = Pick<RecordedFile, "members"> | Pick<RecordedFile, "block">;

/** Whether others write the file as well. Links to it are followed. */
export function isShared({ members, block }: RecordedFile): boolean {
  return members !== undefined || block !== undefined;
}

const Document = v.object({ version: v.literal(1), files: v.array(RecordedFile) });

/** The record, or a backup that it names, cannot be used: what setup has changed is not known any more. */
export class DamagedRecord extends NydusGdError {
  override readonly name = "DamagedRecord";
}

/** Record of one machine. */
export class SetupRecord {
  readonly #files: Map<string, RecordedFile>;

  private constructor(private readonly host: Host, files: readonly RecordedFile[]) {
    this.#files = new Map(files.map((file) => [file.path, file]));
  }

  /** @throws {DamagedRecord} "config" when the record is unreadable; nothing is guessed */
  static async open(host: Host): Promise<SetupRecord> {
    const path = `${host.stateDir}/record.json`;
    const document = await readJsonFile(path).catch((error) => {
      if (error instanceof SyntaxError) return error.message;
      throw error;
    });
    if (document === undefined) return new SetupRecord(host, []);
    const parsed = parseWith(Document, document);
    if (parsed.ok) return new SetupRecord(host, parsed.value.files);
    throw new DamagedRecord("config", `Cannot read ${path}: ${formatPath(parsed.path)} ${parsed.state}`, {
      hint: `put the files of ${host.stateDir}/backup back by hand, and remove ${host.stateDir}`,
    });
  }

  /** Files in the order of their first change. */
  get files(): readonly RecordedFile[] {
    return [...this.#files.values()];
  }

  of(path: string): RecordedFile | undefined {
    return this.#files.get(path);
  }

  /**
   * Records a change that is about to be made.
   *
   * @param before original state, which is backed up
   * @param ourPart for a file shared with others
   */
  async note(
    path: string,
    before: FileState,
    after: FileState,
    ourPart: OurPart | undefined,
  ): Promise<void> {
    const earlier = this.#files.get(path);
    if (before.kind === "file") await writeFileState(this.#backup(path, fingerprint(before)), before);
    this.#files.set(path, {
      path,
      before: before.kind === "file" ? { kind: before.kind, fingerprint: fingerprint(before) } : before,
      written: [...new Set([...earlier?.written ?? [], fingerprint(after)])],
      ...ourPart,
      folders: [...new Set([...earlier?.folders ?? [], ...await missingFolders(this.host, path)])],
    });
    await writeJsonFile(`${this.host.stateDir}/record.json`, { version: 1, files: this.files });
  }

  /** Original state of a file. @throws {DamagedRecord} "corrupt" when the backup has changed */
  async before({ path, before }: RecordedFile): Promise<FileState> {
    if (before.kind !== "file") return before;
    const backup = this.#backup(path, before.fingerprint);
    const state = await readFileState(backup);
    if (fingerprint(state) === before.fingerprint) return state;
    throw new DamagedRecord("corrupt", `Cannot put ${path} back: ${backup} is not what was put there`, {
      hint: `edit ${path} by hand`,
    });
  }

  /** Keeps a copy of an edited file and returns its path. */
  async keepEdited(path: string, state: FileState): Promise<string> {
    const copy = `${this.host.stateDir}/edited${path}`;
    await writeFileState(copy, state);
    return copy;
  }

  /**
   * Ends the record after everything was restored: removes created directories if empty, and the record itself. Copies
   * of edited files stay.
   */
  async close(): Promise<void> {
    const folders = [...new Set(this.files.flatMap((file) => file.folders))].sort().reverse();
    for (const folder of folders) removeIfEmpty(this.host.at(folder));
    this.#files.clear();
    await writeFileState(`${this.host.stateDir}/record.json`, NO_FILE);
    await removeTree(`${this.host.stateDir}/backup`);
  }

  /** The name contains the content's hash, so a recorded backup is never replaced by a different one. */
  #backup(path: string, print: string): string {
    return `${this.host.stateDir}/backup${path}.${print.slice(print.indexOf(":") + 1).slice(0, 12)}`;
  }
}

function removeIfEmpty(folder: string): void {
  try {
    unlinkat(AT.FDCWD, folder, AT.REMOVEDIR);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST", "ENOENT", "ENOTDIR", "EBUSY")) throw error;
  }
}

/** Directories above `path` that do not exist yet, outermost first. */
async function missingFolders(host: Host, path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let folder = dirname(path); folder !== "/"; folder = dirname(folder)) {
    if (await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.lstat(host.at(folder))) !== undefined) {
      break;
    }
    missing.unshift(folder);
  }
  return missing;
}

/** Whether a file is as setup wrote it. */
function isAsWritten(recorded: RecordedFile, current: FileState): boolean {
  return recorded.written.includes(fingerprint(current));
}

/** Whether a file is as it was before setup. */
function isAsBefore({ before }: RecordedFile, current: FileState): boolean {
  return (before.kind === "file" ? before.fingerprint : fingerprint(before)) === fingerprint(current);
}

/** Whether a file was edited since setup wrote it. A deleted file has no edits to lose. */
export function isEdited(recorded: RecordedFile, current: FileState): boolean {
  return current.kind !== "none" && !isAsWritten(recorded, current) && !isAsBefore(recorded, current);
}
