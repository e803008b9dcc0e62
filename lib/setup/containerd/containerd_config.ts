/**
 * Registers our snapshotter in containerd's configuration.
 *
 * The file is somebody else's: a block of text is appended and later removed again, everything else stays as written.
 *
 * ```toml
 * [proxy_plugins.nydus-gd]
 * type = "snapshot"
 * address = "/run/nydus-gd/snapshotter.sock"
 *
 * [proxy_plugins.nydus-gd.exports]
 * root = "/var/lib/nydus-gd/snapshotter"
 * enable_remote_snapshot_annotations = "true"
 * ```
 * Files of version 1, 2, 3 and 4 write this table the same way. Values of files that `imports` names override it, a
 * table as a whole. Source: containerd 1.6 to 2.2, `cmd/containerd/server/config` (in 1.x `services/server/config`).
 *
 * @module
 */
import { basename, dirname, isAbsolute, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { parse as parseToml, TomlError, type TomlTable } from "smol-toml";
import * as v from "valibot";
import { ignore, NydusGdError } from "../../base/errors.ts";
import { utf8Of } from "../docker/daemon_json.ts";
import { type FileState, readFileState } from "../file_state.ts";
import { snapshotterDir } from "../../snapshot/snapshot_paths.ts";
import { DAEMON_ROOT, type Host } from "../host.ts";

/** containerd's configuration file, unless its unit names another one. */
export const CONTAINERD_CONFIG = "/etc/containerd/config.toml";
/** Socket of the snapshotter. */
export const SNAPSHOTTER_SOCKET = "/run/nydus-gd/snapshotter.sock";
/** Name that setup gives the snapshotter. One that was registered by hand may have another. */
export const SNAPSHOTTER = "nydus-gd";

/** Types that containerd accepts for a snapshotter. */
const SNAPSHOT_TYPES = ["snapshot", "io.containerd.snapshotter.v1"];
/** Plugins without which containerd has no proxy snapshotter of this name; the short names are those of version 1. */
function neededPlugins(name: string): string[] {
  return [
    `io.containerd.snapshotter.v1.${name}`,
    "io.containerd.service.v1.snapshots-service",
    "io.containerd.grpc.v1.snapshots",
    name,
    "snapshots-service",
    "snapshots",
  ];
}

/** The folder that tells a kubelet how full the file system of snapshots is. */
export const EXPORTED_ROOT = snapshotterDir(DAEMON_ROOT);

/** The table that registers a snapshotter listening at `address`. @param root folder of its snapshots */
export function proxyPluginTable(address: string, root = EXPORTED_ROOT): string {
  return `[proxy_plugins.${SNAPSHOTTER}]
type = "snapshot"
address = "${address}"

[proxy_plugins.${SNAPSHOTTER}.exports]
root = "${root}"
# Since 2.1, containerd tells a snapshotter which image a layer belongs to only if it asks for that.
enable_remote_snapshot_annotations = "true"
`;
}

/** The parts of a configuration file that matter here. */
const Config = v.object({
  version: v.optional(v.number()),
  imports: v.optional(v.array(v.string()), []),
  disabled_plugins: v.optional(v.array(v.string()), []),
  proxy_plugins: v.optional(
    v.record(
      v.string(),
      v.object({
        type: v.optional(v.string(), ""),
        address: v.optional(v.string(), ""),
        exports: v.optional(v.record(v.string(), v.unknown()), {}),
      }),
    ),
    {},
  ),
  plugins: v.optional(v.record(v.string(), v.unknown()), {}),
});

/** A configuration file. */
export interface ContainerdConfig {
  readonly path: string;
  readonly text: string;
  readonly content: v.InferOutput<typeof Config>;
}

/** @throws {NydusGdError} "config" with the line of what is wrong */
export function parseContainerdConfig(state: FileState, path: string): ContainerdConfig {
  const text = state.kind === "file" ? utf8Of(state.bytes, path) : "";
  const parsed = v.safeParse(Config, tomlOf(text, path));
  if (parsed.success) return { path, text, content: parsed.output };
  const [issue] = parsed.issues;
  throw unreadable(path, `${v.getDotPath(issue) ?? "it"} is not what containerd expects there`);
}

function tomlOf(text: string, path: string): TomlTable {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split("\n", 1)[0]?.replace(/^Invalid TOML document: /, "") ?? "it is not valid TOML";
    throw unreadable(path, `line ${error.line}: ${what}`);
  }
}

function unreadable(path: string, state: string): NydusGdError {
  return new NydusGdError("config", `Cannot read ${path}: ${state}`, { hint: `correct ${path}` });
}

/** Reads the files that `imports` of a file names, and those that these name, in containerd's order. */
export async function readImports(host: Host, main: ContainerdConfig): Promise<ContainerdConfig[]> {
  const found: ContainerdConfig[] = [];
  const pending = [main];
  for (let config = pending.shift(); config !== undefined; config = pending.shift()) {
    for (const path of await importedPaths(host, config)) {
      if (path === main.path || found.some((each) => each.path === path)) continue;
      const imported = parseContainerdConfig(await readFileState(host.at(path), { follow: true }), path);
      found.push(imported);
      pending.push(imported);
    }
  }
  return found;
}

/** A pattern stands for the files that match it, relative names for files beside the one that names them. */
async function importedPaths(host: Host, { path, content }: ContainerdConfig): Promise<string[]> {
  const paths: string[] = [];
  for (const name of content.imports) {
    const full = isAbsolute(name) ? name : join(dirname(path), name);
    if (!full.includes("*")) paths.push(full);
    else paths.push(...await matching(host, full));
  }
  return paths;
}

/** Files that a pattern matches, whose last part alone may have stars. */
async function matching(host: Host, pattern: string): Promise<string[]> {
  const expected = new RegExp(`^${basename(pattern).split("*").map(RegExp.escape).join("[^/]*")}$`);
  const entries = Array.fromAsync(Deno.readDir(host.at(dirname(pattern))));
  const names = (await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], entries) ?? []).map(({ name }) =>
    name
  );
  return names.filter((name) => expected.test(name)).sort().map((name) => join(dirname(pattern), name));
}

/** Our snapshotter, as containerd knows it. */
export interface Registration {
  readonly name: string;
  /** The file. */
  readonly path: string;
  readonly type: string;
  readonly address: string;
  /** What it tells other plugins. */
  readonly exports: Readonly<Record<string, unknown>>;
}

/**
 * The table of our snapshotter: the one with the name that setup gives it, else one that leads to its socket by another
 * name. Undefined if there is none. Of tables of one name, that of the last file counts.
 *
 * @param files the main one, and its imports
 */
export function registrationOf(files: readonly ContainerdConfig[]): Registration | undefined {
  const tables = tablesOf(files);
  return tables.find(({ name }) => name === SNAPSHOTTER) ??
    tables.find(({ address }) => address === SNAPSHOTTER_SOCKET);
}

/** Names of other proxy plugins that lead to the same address: containerd would delete the snapshots of one for another. */
export function othersBeside({ name, address }: Registration, files: readonly ContainerdConfig[]): string[] {
  return tablesOf(files).filter((table) => table.name !== name && table.address === address).map(({ name }) => name);
}

function tablesOf(files: readonly ContainerdConfig[]): Registration[] {
  const tables = files.flatMap(({ path, content }) =>
    Object.entries(content.proxy_plugins).map(([name, table]) => [name, { ...table, name, path }] as const)
  );
  return [...new Map(tables).values()];
}

/**
 * Text to append to the file; undefined if our snapshotter is registered already.
 *
 * @param main the file without what setup has added before
 * @throws {NydusGdError} "config" for a conflicting setting
 */
export function blockFor(main: ContainerdConfig, imports: readonly ContainerdConfig[]): string | undefined {
  const files = [main, ...imports];
  const registered = registrationOf(files);
  refuseDisabled(files, registered?.name ?? SNAPSHOTTER);
  if (registered !== undefined) {
    refuseUnlike(registered);
    const [other] = othersBeside(registered, files);
    if (other === undefined) return undefined;
    throw refusal(`proxy_plugins.${other} leads to ${SNAPSHOTTER_SOCKET} as well`, `remove proxy_plugins.${other}`);
  }
  const start = main.text === "" || main.text.endsWith("\n") ? "" : "\n";
  const head = /^\s*$/.test(main.text) ? "version = 2\n\n" : "\n";
  const lines = `${start}${head}# Added by nydus-gd setup.\n${proxyPluginTable(SNAPSHOTTER_SOCKET)}`;
  const block = lines.replaceAll("\n", main.text.includes("\r\n") ? "\r\n" : "\n");
  requireAppendable(main, block);
  return block;
}

function refuseUnlike({ name, path, type, address }: Registration): void {
  if (address === SNAPSHOTTER_SOCKET && SNAPSHOT_TYPES.includes(type)) return;
  const state = `${path} has a proxy plugin ${name} of type "${type}" at "${address}"`;
  throw refusal(state, `remove proxy_plugins.${name} from ${path}`);
}

function refuseDisabled(files: readonly ContainerdConfig[], name: string): void {
  const needed = neededPlugins(name);
  for (const { path, content } of files) {
    const disabled = content.disabled_plugins.find((plugin) => needed.includes(plugin));
    if (disabled !== undefined) {
      throw refusal(`disabled_plugins in ${path} has ${disabled}`, `remove it from disabled_plugins in ${path}`);
    }
  }
}

/** TOML forbids to extend what was written as an inline table. */
function requireAppendable({ path, text, content }: ContainerdConfig, block: string): void {
  if (isDeepStrictEqual(othersIn(text + block), content.proxy_plugins)) return;
  throw refusal(`proxy_plugins in ${path} is written so that nothing can be appended to it`, `add there: ${ONE_LINE}`);
}

/** Proxy plugins besides ours; undefined if the text is not valid, or has none of ours. */
function othersIn(text: string): unknown {
  try {
    const { proxy_plugins: { [SNAPSHOTTER]: ours, ...others } } = v.parse(Config, parseToml(text));
    return ours === undefined ? undefined : others;
  } catch (error) {
    if (error instanceof TomlError) return undefined;
    throw error;
  }
}

const ONE_LINE = `${SNAPSHOTTER} = { type = "snapshot", address = "${SNAPSHOTTER_SOCKET}" }`;

function refusal(state: string, hint: string): NydusGdError {
  return new NydusGdError("config", `Cannot set up containerd: ${state}`, { hint });
}
