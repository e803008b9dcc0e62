/**
 * Walks a mounted tree through the kernel and prints it as a listing (rafs/rafs_fixtures.ts), one JSON object per line.
 *
 * A separate program, `deno run -A tree_walk.ts DIRECTORY`: a process that serves a mount must not access it, and a
 * hang of the file system must affect the child only.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readDirectory } from "../../../ffi/dirent.ts";
import { AT, O, open } from "../../../ffi/fcntl.ts";
import { major, minor, S, type Stat, statat } from "../../../ffi/sys_stat.ts";
import { lgetxattr, llistxattr } from "../../../ffi/sys_xattr.ts";
import { read, readlinkat } from "../../../ffi/unistd.ts";
import { compareBytes, concatenate } from "../../../lib/base/bytes.ts";
import { answerLines, LineProcess, SERVE } from "../process/line_process.ts";
import { type ListedEntry, percentEncode } from "../rafs/rafs_fixtures.ts";
import { programUrl } from "../repository.ts";

/** This module. */
const PROGRAM = programUrl(import.meta, "tree_walk.ts");

const TYPES: Readonly<Record<number, string>> = {
  [S.IFIFO]: "fifo",
  [S.IFCHR]: "chr",
  [S.IFDIR]: "dir",
  [S.IFBLK]: "blk",
  [S.IFREG]: "reg",
  [S.IFLNK]: "lnk",
  [S.IFSOCK]: "sock",
};

/** Called for what cannot be read, which is then left out: "list /etc: EIO". */
export type OnFailure = (failure: string) => void;

/** Maximum number of paths; a tree with more is considered endless. */
const MAX_PATHS = 20_000;

/**
 * Lists everything below `root`, sorted by path bytes. Mount points below it are listed but not entered.
 *
 * @param onFailure for damaged trees; without it, the first failure is thrown
 */
export function listTree(root: string, onFailure?: OnFailure): ListedEntry[] {
  const rootBytes = new TextEncoder().encode(root);
  const found: { path: Uint8Array; entry: ListedEntry; stat: Stat }[] = [];
  const pending: Uint8Array[] = [new Uint8Array()];
  const look: Look = (operation, path, use) => {
    try {
      return use();
    } catch (error) {
      if (onFailure === undefined) throw error;
      onFailure(`${operation} ${percentEncode(path)}: ${(error as { code?: string }).code ?? error}`);
      return undefined;
    }
  };
  const add = (path: Uint8Array) => {
    if (found.length === MAX_PATHS) throw new Error(`Cannot walk ${root}: more than ${MAX_PATHS} paths`);
    const entry = look("stat", path, () => entryOf(rootBytes, path, look));
    if (entry !== undefined) found.push(entry);
    return entry;
  };
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    const parent = directory;
    if (parent.length === 0) add(Uint8Array.of(0x2f));
    const names: Uint8Array[] = [];
    look("list", parent, () => addNames(concatenate([rootBytes, parent]), names));
    for (const name of names) {
      const path = concatenate([parent, Uint8Array.of(0x2f), name]);
      const added = add(path);
      if (added?.entry.type === "dir" && added.stat.mountId === found[0]?.stat.mountId) pending.push(path);
    }
  }
  found.sort((a, b) => compareBytes(a.path, b.path));
  return withLinks(found);
}

function addNames(path: Uint8Array, names: Uint8Array[]): void {
  using fd = open(path, O.RDONLY | O.DIRECTORY);
  for (const { name } of readDirectory(fd)) {
    if (compareBytes(name, Uint8Array.of(0x2e)) === 0 || compareBytes(name, Uint8Array.of(0x2e, 0x2e)) === 0) continue;
    names.push(name.slice());
  }
}

type Look = <T>(operation: string, path: Uint8Array, use: () => T) => T | undefined;

function entryOf(root: Uint8Array, path: Uint8Array, look: Look): { path: Uint8Array; entry: ListedEntry; stat: Stat } {
  const full = concatenate([root, path]);
  const stat = statat(AT.FDCWD, full, AT.SYMLINK_NOFOLLOW);
  const type = TYPES[stat.mode & S.IFMT] ?? "?";
  const xattrs = look(
    "xattrs",
    path,
    () => llistxattr(full).map((name) => [String.fromCharCode(...name), lgetxattr(full, name).toBase64()]).sort(),
  ) ?? [];
  const entry: ListedEntry = {
    path: percentEncode(path),
    type,
    mode: (stat.mode & 0o7777).toString(8).padStart(4, "0"),
    uid: stat.uid,
    gid: stat.gid,
    nlink: stat.nlink,
    mtime: stat.mtimeSec,
    mtime_nsec: stat.mtimeNsec,
    ...(type === "reg" ? { size: stat.size, sha256: digestOf(full) } : {}),
    ...(type === "lnk" ? { target: percentEncode(readlinkat(AT.FDCWD, full)), size: stat.size } : {}),
    ...(type === "chr" || type === "blk" ? { rdev: [major(stat.rdev), minor(stat.rdev)] } : {}),
    ...(xattrs.length > 0 ? { xattrs: Object.fromEntries(xattrs) } : {}),
  };
  return { path, entry, stat };
}

/** sha256 of the content, or "ERR:EIO". */
function digestOf(path: Uint8Array): string {
  const digest = createHash("sha256");
  const buffer = new Uint8Array(1 << 20);
  using fd = open(path, O.RDONLY);
  try {
    for (let count = read(fd, buffer); count > 0; count = read(fd, buffer)) digest.update(buffer.subarray(0, count));
  } catch (error) {
    return `ERR:${(error as { code: string }).code}`;
  }
  return digest.digest("hex");
}

function withLinks(found: readonly { entry: ListedEntry; stat: Stat }[]): ListedEntry[] {
  const first = new Map<number | bigint, string>();
  return found.map(({ entry, stat }) => {
    if (entry.type !== "reg" || entry.nlink < 2) return entry;
    const link = first.get(stat.ino) ?? entry.path;
    first.set(stat.ino, link);
    return { ...entry, link };
  });
}

/** Runs {@link listTree} in a separate process. */
export async function walkInChild(directory: string, signal: AbortSignal): Promise<ListedEntry[]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--no-check", PROGRAM, directory],
    signal,
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(`Cannot walk ${directory}: ${new TextDecoder().decode(stderr)}`);
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as ListedEntry);
}

/** Result of walking a damaged tree. */
export interface DamagedTree {
  readonly entries: readonly ListedEntry[];
  /** See {@link OnFailure}. */
  readonly failures: readonly string[];
}

/** A process that walks damaged trees one after the other. */
export class TreeWalker implements AsyncDisposable {
  readonly #process = new LineProcess(PROGRAM);

  /** Walks `directory`. If that takes longer than `timeoutMs`, the process is killed and the promise rejects. */
  async walk(directory: string, timeoutMs: number): Promise<DamagedTree> {
    return JSON.parse(await this.#process.ask(directory, timeoutMs)) as DamagedTree;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

/** The program's side of {@link TreeWalker}. */
function walkDamaged(directory: string): string {
  const failures: string[] = [];
  const entries = listTree(directory, (failure) => failures.push(failure));
  return jsonOf({ entries, failures } satisfies DamagedTree);
}

/** Times that a number cannot hold become digits. */
function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, each) => typeof each === "bigint" ? String(each) : each);
}

if (import.meta.main) {
  const [directory] = Deno.args;
  if (directory === undefined) throw new Error("Cannot walk: no directory given");
  if (directory === SERVE) {
    await answerLines(walkDamaged);
    Deno.exit(0);
  }
  const encoder = new TextEncoder();
  for (const entry of listTree(directory)) Deno.stdout.writeSync(encoder.encode(`${jsonOf(entry)}\n`));
}
