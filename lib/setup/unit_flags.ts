/**
 * Finds command-line flags that a systemd unit passes to its program.
 *
 * Parses the unit, its drop-ins and environment files as text; executes nothing.
 *
 * @module
 */
import { ignore } from "../base/errors.ts";
import type { Host } from "./host.ts";

/** Unit directories; the first one that contains the unit applies. */
const UNIT_DIRS = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];

/** A flag and where it is set. */
export interface UnitFlag {
  readonly value: string;
  /** "/etc/default/docker line 3". */
  readonly place: string;
}

/** A unit, as far as it is readable. */
export interface FlaggedUnit<Name extends string> {
  /** Whether the unit exists. */
  readonly isThere: boolean;
  /** Whether systemd refuses to start it: systemctl mask. */
  readonly isMasked: boolean;
  readonly flags: Readonly<Partial<Record<Name, UnitFlag>>>;
}

/** Where to look for which flags. */
export interface FlagSearch<Name extends string> {
  /** "docker.service". */
  readonly service: string;
  /** Our own drop-in, which is ignored. */
  readonly ownDropIn: string;
  /** Files whose lines may contain flags, besides the unit. */
  readonly environmentFiles: readonly string[];
  /** Patterns of the flags; the first group is the value, "true" if it is absent. */
  readonly patterns: Readonly<Record<Name, RegExp>>;
}

/** Reads a unit and its flags. The last setting of a flag counts. */
export async function readUnitFlags<Name extends string>(
  host: Host,
  search: FlagSearch<Name>,
): Promise<FlaggedUnit<Name>> {
  const paths = UNIT_DIRS.map((dir) => `${dir}/${search.service}`);
  const unit = await firstOf(host, paths);
  const files = [...(unit === undefined ? [] : [unit]), ...await dropIns(host, search)];
  const flags: Partial<Record<Name, UnitFlag>> = {};
  for (const path of files) Object.assign(flags, await flagsIn(host, path, UNIT_LINE, search.patterns));
  for (const path of search.environmentFiles) {
    Object.assign(flags, await flagsIn(host, path, /^\s*[^#;\s]/, search.patterns));
  }
  return { isThere: unit !== undefined, isMasked: await isMasked(host, paths), flags };
}

/** Reads the flags in the lines of a file that match `matters`. */
async function flagsIn<Name extends string>(
  host: Host,
  path: string,
  matters: RegExp,
  patterns: Readonly<Record<Name, RegExp>>,
): Promise<Partial<Record<Name, UnitFlag>>> {
  const flags: Partial<Record<Name, UnitFlag>> = {};
  const text = await ignore(MISSING, Deno.readTextFile(host.at(path))) ?? "";
  for (const { line, number } of logicalLines(text)) {
    if (!matters.test(line)) continue;
    for (const [name, pattern] of Object.entries(patterns) as [Name, RegExp][]) {
      const found = pattern.exec(line);
      if (found !== null) flags[name] = { value: found[1] ?? "true", place: `${path} line ${number}` };
    }
  }
  return flags;
}

/** Lines of a unit that may contain flags of its program. */
const UNIT_LINE = /^\s*(?:ExecStart|Environment)\s*=/;

/** Joins lines that end in a backslash with the next one. */
function* logicalLines(text: string): Iterable<{ readonly line: string; readonly number: number }> {
  let line = "", number = 1;
  for (const [index, part] of text.split("\n").entries()) {
    if (line === "") number = index + 1;
    if (part.endsWith("\\")) line += `${part.slice(0, -1)} `;
    else {
      yield { line: line + part, number };
      line = "";
    }
  }
}

const MISSING = [Deno.errors.NotFound, Deno.errors.NotADirectory];

async function firstOf(host: Host, paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    if ((await ignore(MISSING, Deno.stat(host.at(path))))?.isFile) return path;
  }
  return undefined;
}

/** Whether the first of the unit's files is a link to /dev/null: systemd.unit(5). */
async function isMasked(host: Host, paths: readonly string[]): Promise<boolean> {
  for (const path of paths) {
    const info = await ignore(MISSING, Deno.lstat(host.at(path)));
    if (info !== undefined) return info.isSymlink && await Deno.readLink(host.at(path)) === "/dev/null";
  }
  return false;
}

async function dropIns(
  host: Host,
  { service, ownDropIn }: Pick<FlagSearch<string>, "service" | "ownDropIn">,
): Promise<string[]> {
  const found: string[] = [];
  for (const dir of UNIT_DIRS) {
    const folder = `${dir}/${service}.d`;
    const entries = await ignore(MISSING, Array.fromAsync(Deno.readDir(host.at(folder)))) ?? [];
    found.push(...entries.map(({ name }) => `${folder}/${name}`).filter((path) => path.endsWith(".conf")).sort());
  }
  return found.filter((path) => path !== ownDropIn);
}
