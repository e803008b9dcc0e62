/**
 * Finds command-line flags that Docker's unit passes to dockerd, which refuses to start if daemon.json sets the same
 * option.
 *
 * Parses the unit, its drop-ins and the environment files of Debian and Red Hat as text; executes nothing.
 *
 * @module
 */
import { ignore } from "../base/errors.ts";
import type { Host } from "./host.ts";
import { DOCKER_SERVICE, DROP_IN_PATH } from "./unit_files.ts";

/** Unit directories; the first one that contains the unit applies. */
const UNIT_DIRS = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];
const ENVIRONMENT_FILES = ["/etc/default/docker", "/etc/sysconfig/docker", "/etc/sysconfig/docker-storage"];

/** Patterns of the relevant flags. */
const FLAGS = {
  storageDriver: /(?:^|[\s"'=])(?:--storage-driver|-s)(?:=|\s+)"?([\w.:/-]+)/,
  experimental: /(?:^|[\s"'=])--experimental(?:=(\w+))?(?=[\s"']|$)/,
  configFile: /(?:^|[\s"'=])--config-file(?:=|\s+)"?([\w./-]+)/,
  storageOptions: /(?:^|[\s"'=])--storage-opt(?:=|\s+)"?([\w.=:/-]+)/,
} as const;

type FlagName = keyof typeof FLAGS;

/** A flag and where it is set. */
export interface DockerFlag {
  readonly value: string;
  /** "/etc/default/docker line 3". */
  readonly place: string;
}

/** Docker's unit, as far as it is readable. */
export interface DockerUnit {
  /** Whether the unit exists. */
  readonly isThere: boolean;
  readonly flags: Readonly<Partial<Record<FlagName, DockerFlag>>>;
}

/** Reads Docker's unit and its flags. */
export async function readDockerUnit(host: Host): Promise<DockerUnit> {
  const unit = await firstOf(host, UNIT_DIRS.map((dir) => `${dir}/${DOCKER_SERVICE}`));
  const files = [...(unit === undefined ? [] : [unit]), ...await dropIns(host)];
  const flags: Partial<Record<FlagName, DockerFlag>> = {};
  for (const path of files) Object.assign(flags, await flagsIn(host, path, UNIT_LINE));
  for (const path of ENVIRONMENT_FILES) Object.assign(flags, await flagsIn(host, path, /^\s*[^#;\s]/));
  return { isThere: unit !== undefined, flags };
}

/** Reads the flags in the lines of a file that match `matters`. The last setting of a flag counts. */
async function flagsIn(host: Host, path: string, matters: RegExp): Promise<Partial<Record<FlagName, DockerFlag>>> {
  const flags: Partial<Record<FlagName, DockerFlag>> = {};
  const text = await ignore(MISSING, Deno.readTextFile(host.at(path))) ?? "";
  for (const { line, number } of logicalLines(text)) {
    if (!matters.test(line)) continue;
    for (const [name, pattern] of Object.entries(FLAGS) as [FlagName, RegExp][]) {
      const found = pattern.exec(line);
      if (found !== null) flags[name] = { value: found[1] ?? "true", place: `${path} line ${number}` };
    }
  }
  return flags;
}

/** Lines of a unit that may contain flags of dockerd. */
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

async function dropIns(host: Host): Promise<string[]> {
  const found: string[] = [];
  for (const dir of UNIT_DIRS) {
    const folder = `${dir}/${DOCKER_SERVICE}.d`;
    const entries = await ignore(MISSING, Array.fromAsync(Deno.readDir(host.at(folder)))) ?? [];
    found.push(...entries.map(({ name }) => `${folder}/${name}`).filter((path) => path.endsWith(".conf")).sort());
  }
  return found.filter((path) => path !== DROP_IN_PATH);
}
