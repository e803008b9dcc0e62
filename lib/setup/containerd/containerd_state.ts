/**
 * State of containerd before a change: its unit, and the snapshotters that it has.
 *
 * @module
 */
import { ignore, messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import {
  CONTAINERD_CONFIG,
  type ContainerdConfig,
  parseContainerdConfig,
  readImports,
  registrationOf,
  SNAPSHOTTER,
} from "./containerd_config.ts";
import { readFileState, textFile } from "../file_state.ts";
import type { Host } from "../host.ts";
import { type FlaggedUnit, readUnitFlags } from "../unit_flags.ts";
import { CONTAINERD_DROP_IN_PATH, CONTAINERD_SERVICE } from "../unit_files.ts";

const log = logger("setup");

const BINARIES = ["/usr/bin/containerd", "/usr/local/bin/containerd"];
/** Socket of the machine's containerd. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

/** Seconds for an answer of containerd. */
const TIMEOUT_S = 3;

const PATTERNS = {
  program: /^\s*ExecStart\s*=\s*[-@:+!|]*"?(\/[^\s"]*\/containerd)(?=["\s]|$)/,
  configFile: /(?:^|[\s"'=])(?:--config|-c)(?:=|\s+)"?([\w./-]+)/,
} as const;

/** State of containerd on a machine. */
export interface ContainerdState {
  readonly unit: FlaggedUnit<keyof typeof PATTERNS>;
  /** Path of its program, that of its unit first; undefined if there is none in the usual places. */
  readonly program: string | undefined;
  /** Whether it is installed, be it without a unit. */
  readonly isThere: boolean;
}

/** Reads the state of containerd. */
export async function lookAtContainerd(host: Host): Promise<ContainerdState> {
  const unit = await readUnitFlags(host, {
    service: CONTAINERD_SERVICE,
    ownDropIn: CONTAINERD_DROP_IN_PATH,
    environmentFiles: [],
    patterns: PATTERNS,
  });
  const program = await findProgram(host, unit.flags.program?.value);
  return { unit, program, isThere: unit.isThere || program !== undefined };
}

/** What containerd is configured by. */
export interface ContainerdFiles {
  /** Whether it is installed. */
  readonly isThere: boolean;
  /** The main file, and its imports. */
  readonly files: readonly ContainerdConfig[];
  /** Asks it what it makes of them; undefined if it does not tell. */
  effective(signal: AbortSignal): Promise<ContainerdConfig | undefined>;
}

/** Reads the files that containerd is configured by. @throws {NydusGdError} "config" for one that it could not read */
export async function readContainerdFiles(host: Host): Promise<ContainerdFiles> {
  const state = await lookAtContainerd(host);
  const path = state.unit.flags.configFile?.value ?? CONTAINERD_CONFIG;
  const main = parseContainerdConfig(await readFileState(host.at(path), { follow: true }), path);
  const files = [main, ...await readImports(host, main)];
  return { isThere: state.isThere, files, effective: (signal) => effectiveConfig(host, state, path, signal) };
}

/** Name of our snapshotter in this machine's containerd; the usual one where that cannot be read, or there is none. */
export async function snapshotterName(host: Host): Promise<string> {
  try {
    return registrationOf((await readContainerdFiles(host)).files)?.name ?? SNAPSHOTTER;
  } catch (error) {
    log.debug("containerd's configuration is not readable", { reason: messageOf(error) });
    return SNAPSHOTTER;
  }
}

async function findProgram(host: Host, started: string | undefined): Promise<string | undefined> {
  const missing = [Deno.errors.NotFound, Deno.errors.NotADirectory];
  for (const path of [...started === undefined ? [] : [started], ...BINARIES]) {
    if (await ignore(missing, Deno.stat(host.at(path))) !== undefined) return path;
  }
  return undefined;
}

/**
 * The configuration that containerd makes of its file, with defaults, imports, and what it has migrated of older
 * versions: `containerd config dump`. Undefined if it cannot be asked: there is no program, or it is of another machine.
 *
 * @param path of the file
 */
export async function effectiveConfig(
  host: Host,
  { program }: ContainerdState,
  path: string,
  signal?: AbortSignal,
): Promise<ContainerdConfig | undefined> {
  if (program === undefined) return undefined;
  const args = ["--config", host.at(path), "config", "dump"];
  const command = new Deno.Command(host.at(program), {
    args,
    stdin: "null",
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const { success, stdout, stderr } = await command.output();
    const dump = success ? parseContainerdConfig(textFile(new TextDecoder().decode(stdout)), DUMP) : undefined;
    if (dump?.content.version !== undefined) return dump;
    log.debug("containerd does not print its configuration", { reason: new TextDecoder().decode(stderr).trim() });
  } catch (error) {
    log.debug("containerd does not print its configuration", { reason: messageOf(error) });
  }
  return undefined;
}

const DUMP = "containerd config dump";

/** containerd's type of the plugins that are snapshotters. */
const SNAPSHOTTER_TYPE = "io.containerd.snapshotter.v1";

/**
 * State of the snapshotter `name` in the running containerd, as `ctr plugins ls` shows it: "ok", "skip", "error"; "none"
 * if it has no such plugin, undefined if it cannot be asked.
 */
export async function snapshotterState(
  name: string,
  { socket = CONTAINERD_SOCKET, signal }: { readonly socket?: string; readonly signal?: AbortSignal } = {},
): Promise<string | undefined> {
  const limits = ["--timeout", `${TIMEOUT_S}s`, "--connect-timeout", `${TIMEOUT_S}s`];
  const args = ["--address", socket, ...limits, "plugins", "ls"];
  const command = new Deno.Command("ctr", { args, stdin: "null", ...(signal === undefined ? {} : { signal }) });
  const output = await ignore(Deno.errors.NotFound, command.output());
  if (output === undefined) return undefined;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!output.success) {
    log.debug("containerd does not answer", { socket, reason: text(output.stderr).trim() });
    return undefined;
  }
  const rows = text(output.stdout).split("\n").map((line) => line.trim().split(/\s+/));
  return rows.find((row) => row[0] === SNAPSHOTTER_TYPE && row[1] === name)?.at(-1) ?? "none";
}
