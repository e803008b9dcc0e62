/**
 * Reads files and replaces them atomically and durably.
 *
 * If a path is a symbolic link to a file, the target is changed. Owner and mode are preserved.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { stateOf } from "../base/error_report.ts";
import { ignore, NydusGdError } from "../base/errors.ts";
import { syncFolder } from "../base/durable.ts";

/** Current or desired state of a path. */
export type FileState =
  | { readonly kind: "none" }
  | { readonly kind: "link"; readonly target: string }
  | {
    readonly kind: "file";
    readonly bytes: Uint8Array;
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
  };

const MISSING = [Deno.errors.NotFound, Deno.errors.NotADirectory];

/** State of a path where nothing exists. */
export const NO_FILE: FileState = { kind: "none" };

/** A world-readable file owned by root. */
export function textFile(text: string): FileState {
  const owner = Deno.uid() === 0 ? { uid: 0, gid: 0 } : { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0 };
  return { kind: "file", bytes: new TextEncoder().encode(text), mode: 0o644, ...owner };
}

/** Text of a file, "" if there is none; for a link a description of its target. */
export function textOf(state: FileState): string {
  if (state.kind === "file") return new TextDecoder().decode(state.bytes);
  return state.kind === "link" ? `link to ${state.target}\n` : "";
}

/** Identifies a state by its content, ignoring owner and mode. */
export function fingerprint(state: FileState): string {
  const hash = createHash("sha256").update(state.kind === "file" ? state.bytes : textOf(state));
  return `${state.kind}:${hash.digest("hex")}`;
}

/** Handling of symbolic links. */
export interface LinkOptions {
  /** Whether a link to a file is followed; by default the link itself is read or replaced. */
  readonly follow?: boolean;
}

/** Reads the current state of `path`. @throws {NydusGdError} "io", also for a followed link that leads nowhere */
export async function readFileState(path: string, { follow = false }: LinkOptions = {}): Promise<FileState> {
  try {
    const info = await ignore(MISSING, follow ? Deno.stat(path) : Deno.lstat(path));
    if (info === undefined) return follow ? await withoutTarget(path) : NO_FILE;
    if (info.isSymlink) return { kind: "link", target: await Deno.readLink(path) };
    if (!info.isFile) throw new Error("it is not a file");
    const { mode, uid, gid } = info;
    return {
      kind: "file",
      bytes: await Deno.readFile(path),
      mode: (mode ?? 0o644) & 0o7777,
      uid: uid ?? 0,
      gid: gid ?? 0,
    };
  } catch (error) {
    throw new NydusGdError("io", `Cannot read ${path}: ${stateOf(error)}`, {
      hint: `look at it: ls -ld ${path}`,
      cause: error,
    });
  }
}

/** State of a path that leads to nothing. A link to nothing must not be replaced by a file: its owner has a reason. */
async function withoutTarget(path: string): Promise<FileState> {
  const link = await ignore(MISSING, Deno.lstat(path));
  if (link === undefined) return NO_FILE;
  throw new Error(`it is a link to ${await Deno.readLink(path)}, which does not exist`);
}

/** Puts `path` into `state`, atomically and durably when it resolves. @throws {NydusGdError} "io" */
export async function writeFileState(path: string, state: FileState, options: LinkOptions = {}): Promise<void> {
  try {
    const place = await placeOf(path, options);
    if (state.kind === "none") {
      if (await ignore(MISSING, Deno.lstat(place)) === undefined) return;
      await Deno.remove(place);
    } else {
      await Deno.mkdir(dirname(place), { recursive: true, mode: 0o755 });
      const aside = temporaryPath(place);
      await ignore(Deno.errors.NotFound, Deno.remove(aside));
      if (state.kind === "link") await Deno.symlink(state.target, aside);
      else await writeFile(aside, state);
      await Deno.rename(aside, place).catch(async (error) => {
        await Deno.remove(aside);
        throw error;
      });
    }
    await syncFolder(dirname(place));
  } catch (error) {
    throw new NydusGdError("io", `Cannot write ${path}: ${stateOf(error)}`, {
      hint: `make it writable: lsattr ${path}; findmnt --target ${path}`,
      cause: error,
    });
  }
}

/** Removes the temporary file of an interrupted {@link writeFileState}. */
export async function removeTemporary(path: string, options: LinkOptions): Promise<void> {
  await ignore(MISSING, Deno.remove(temporaryPath(await placeOf(path, options))));
}

async function placeOf(path: string, { follow = false }: LinkOptions): Promise<string> {
  return follow ? await ignore(MISSING, Deno.realPath(path)) ?? path : path;
}

function temporaryPath(place: string): string {
  return `${place}.nydus-gd-new`;
}

async function writeFile(path: string, { bytes, mode, uid, gid }: FileState & { kind: "file" }): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.chown(uid, gid);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}
