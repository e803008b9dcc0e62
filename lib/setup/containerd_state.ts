/**
 * State of containerd before a change: its unit, and the snapshotters that it has.
 *
 * @module
 */
import { ignore } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Host } from "./host.ts";
import { type FlaggedUnit, readUnitFlags } from "./unit_flags.ts";
import { CONTAINERD_DROP_IN_PATH, CONTAINERD_SERVICE } from "./unit_files.ts";

const log = logger("setup");

const BINARIES = ["/usr/bin/containerd", "/usr/local/bin/containerd"];
/** Socket of the machine's containerd. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

/** Seconds for an answer of containerd. */
const TIMEOUT_S = 3;

const PATTERNS = { configFile: /(?:^|[\s"'=])(?:--config|-c)(?:=|\s+)"?([\w./-]+)/ } as const;

/** State of containerd on a machine. */
export interface ContainerdState {
  readonly unit: FlaggedUnit<keyof typeof PATTERNS>;
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
  return { unit, isThere: unit.isThere || await hasBinary(host) };
}

async function hasBinary(host: Host): Promise<boolean> {
  const missing = [Deno.errors.NotFound, Deno.errors.NotADirectory];
  for (const path of BINARIES) {
    if (await ignore(missing, Deno.stat(host.at(path))) !== undefined) return true;
  }
  return false;
}

/**
 * State of a plugin of the running containerd, as `ctr plugins ls` shows it: "ok", "skip", "error"; "none" if it has no
 * such plugin, undefined if it cannot be asked.
 *
 * @param type "io.containerd.snapshotter.v1"
 */
export async function pluginState(
  type: string,
  id: string,
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
  return rows.find((row) => row[0] === type && row[1] === id)?.at(-1) ?? "none";
}
