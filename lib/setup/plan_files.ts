/**
 * Changes of single files, as the plans for Docker and for containerd need them.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { NydusGdError } from "../base/errors.ts";
import { blockFor, type ContainerdConfig, parseContainerdConfig, readImports } from "./containerd/containerd_config.ts";
import { parseDaemonJson, type WantedMembers } from "./docker/daemon_json.ts";
import type { FileChange } from "./file_change.ts";
import { isChange } from "./file_change.ts";
import { type FileState, readFileState, textFile, textOf } from "./file_state.ts";
import type { Host } from "./host.ts";
import { JsonText } from "./json_text.ts";
import { changesOf, revertChanges } from "./member_changes.ts";
import { isEdited, type SetupRecord } from "./record.ts";
import { beforeOurs, withText } from "./shared_file.ts";

/** What changes of files are planned from. */
export interface PlanSource {
  readonly host: Host;
  readonly record: SetupRecord;
  /** Whether edited files of ours are replaced. */
  readonly force: boolean;
}

/** Plans a file that is entirely ours. @throws {NydusGdError} "busy" if it was edited, unless forced */
export async function ownFile(
  { host, record, force }: PlanSource,
  path: string,
  after: FileState,
): Promise<FileChange> {
  const current = await readFileState(host.at(path));
  const recorded = record.of(path);
  const before = recorded === undefined ? current : await record.before(recorded);
  const change = { path, current, after, follow: false, before };
  if (isChange(change) && recorded !== undefined && isEdited(recorded, current) && !force) throw edited(path);
  return change;
}

/** Error for a file that only setup writes but that was edited. */
export function edited(path: string): NydusGdError {
  return new NydusGdError("busy", `Cannot replace ${path}: it was edited since setup wrote it`, {
    hint: "--force keeps a copy of it; put changes into a drop-in (systemctl edit)",
  });
}

/**
 * Plans Docker's configuration. Members that an earlier setup wanted and this one does not are taken back.
 *
 * @param want the members for the file without ours
 * @throws {NydusGdError} "config", "unsupported" from `want`, and for a file that is not JSON
 */
export async function daemonJson(
  { host, record }: PlanSource,
  path: string,
  want: (json: JsonText) => WantedMembers,
): Promise<FileChange> {
  const current = await readFileState(host.at(path), { follow: true });
  const json = parseDaemonJson(current, path);
  const before = await beforeOurs(record, path, current);
  const originally = parseDaemonJson(before, path);
  const wanted = want(originally);
  const obsolete = (record.of(path)?.members ?? []).filter(({ name }) => !wanted.has(name));
  let after = JsonText.parse(revertChanges(json, obsolete).text, path);
  for (const [name, value] of wanted) {
    if (!isDeepStrictEqual(after.get(name), value)) after = after.with(name, value);
  }
  return {
    path,
    current,
    after: current.kind === "file" ? withText(current, after.text) : textFile(after.text),
    follow: true,
    before,
    ourPart: { members: changesOf(originally, wanted) },
  };
}

/** Plans containerd's configuration, and returns every file that it consists of after the change. */
export async function containerdConfig(
  { host, record }: PlanSource,
  path: string,
): Promise<{ readonly change: FileChange; readonly files: readonly ContainerdConfig[] }> {
  const current = await readFileState(host.at(path), { follow: true });
  const before = await beforeOurs(record, path, current);
  const main = parseContainerdConfig(before, path);
  const imports = await readImports(host, main);
  const block = blockFor(main, imports);
  const isThere = block === undefined || textOf(current).includes(block);
  const text = `${main.text}${block}`;
  const after = isThere ? current : current.kind === "file" ? withText(current, text) : textFile(text);
  return {
    change: { path, current, after, follow: true, before, ...(block === undefined ? {} : { ourPart: { block } }) },
    files: [parseContainerdConfig(after, path), ...imports],
  };
}
