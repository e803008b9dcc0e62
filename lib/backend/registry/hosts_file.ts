/**
 * Parser of `hosts.toml`, containerd's configuration of the mirrors of a registry.
 *
 * ```toml
 * server = "https://registry-1.docker.io"        # the upstream, which may have the keys of a host
 * [host."https://mirror.example.com/hub"]        # tried in file order
 * capabilities = ["pull", "resolve"]
 * ca = "ca.crt"                                  # relative to the folder of the file
 * ```
 * Unknown keys are ignored and reported. Messages never include header values. Source: containerd, docs/hosts.md.
 *
 * @throws {NydusGdError} "config": `Cannot read /etc/…/hosts.toml: host.https://… must be …`
 * @module
 */
import { isAbsolute, join } from "node:path";
import { parse as parseToml, TomlError } from "smol-toml";
import * as v from "valibot";
import { NydusGdError } from "../../base/errors.ts";
import { formatPath, parseWith, type Path, unknownKeys } from "../../base/schema.ts";
import { duration } from "../../base/setting_values.ts";
import type { Capability } from "./repository.ts";

/** The settings of one host. */
export interface HostSettings {
  /** Undefined: the registry's own host. */
  readonly url: URL | undefined;
  /** The path before "/<repository>/blobs/…": "/v2", "/hub/v2". */
  readonly prefix: string;
  readonly capabilities: ReadonlySet<Capability>;
  /** Paths of PEM files. */
  readonly caFiles: readonly string[];
  readonly client: ClientFiles | undefined;
  readonly skipVerify: boolean;
  /** By lower-case name. Values may be secrets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly dialTimeoutMs: number | undefined;
}

/** Paths of PEM files; both may name the same file. */
export interface ClientFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A parsed `hosts.toml`. */
export interface HostsFile {
  readonly upstream: HostSettings;
  /** In the order of the file. */
  readonly mirrors: readonly HostSettings[];
  /** Ignored keys: "host.https://m.example.com.colour". */
  readonly unknown: readonly string[];
}

const texts = v.union([v.string(), v.array(v.string())]);
const HOST_ENTRIES = {
  capabilities: v.optional(v.array(v.picklist(["pull", "resolve", "push"]))),
  ca: v.optional(texts),
  client: v.optional(v.union([v.string(), v.array(v.union([v.string(), v.array(v.string())]))])),
  skip_verify: v.optional(v.boolean()),
  header: v.optional(v.record(v.string(), texts)),
  override_path: v.optional(v.boolean()),
  dial_timeout: v.optional(v.union([v.string(), v.number()])),
};
const HOST = v.object(HOST_ENTRIES);
const FILE = v.object({
  ...HOST_ENTRIES,
  server: v.optional(v.string()),
  host: v.optional(v.record(v.string(), HOST)),
});
type Host = v.InferOutput<typeof HOST>;

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e]*$/;

/** @param path of the file, for messages and to resolve relative paths */
export function parseHostsFile(text: string, path: string): HostsFile {
  const folder = join(path, "..");
  const document = parseDocument(text, path);
  // before the schema, whose messages quote these URLs: one may contain a password
  const mirrors = hostKeys(document).map((key) => ({ key, url: parseUrl(key, "a host", path) }));
  const result = parseWith(FILE, document);
  if (!result.ok) throw refused(path, `${formatPath(result.path)} ${result.state}`);
  const { server, host = {}, ...upstream } = result.value;
  const read = (url: URL | undefined, settings: Host, base: Path) => readHost(url, settings, { base, folder, path });
  return {
    upstream: read(server === undefined ? undefined : parseUrl(server, "server", path), upstream, []),
    mirrors: mirrors.map(({ key, url }) => read(url, host[key] ?? {}, ["host", key])),
    unknown: unknownKeys(FILE, document).map(formatPath),
  };
}

interface Place {
  readonly base: Path;
  readonly folder: string;
  readonly path: string;
}

function readHost(url: URL | undefined, host: Host, place: Place): HostSettings {
  const names = host.capabilities?.length ? host.capabilities : ["pull", "resolve"] as const;
  const inFolder = (file: string) => isAbsolute(file) ? file : join(place.folder, file);
  return {
    url,
    prefix: prefixOf(url, host.override_path ?? false),
    capabilities: new Set(names.filter((name) => name !== "push")),
    caFiles: (typeof host.ca === "string" ? [host.ca] : host.ca ?? []).map(inFolder),
    client: readClient(host.client, place, inFolder),
    skipVerify: host.skip_verify ?? false,
    headers: readHeaders(host.header ?? {}, place),
    dialTimeoutMs: readTimeout(host.dial_timeout, place),
  };
}

/** Appends "/v2" unless the path ends with it or is overridden. */
function prefixOf(url: URL | undefined, isOverridden: boolean): string {
  const path = (url?.pathname ?? "").replace(/\/+$/, "");
  return isOverridden || path.endsWith("/v2") ? path : `${path}/v2`;
}

function readClient(
  client: Host["client"],
  { base, path }: Place,
  inFolder: (file: string) => string,
): ClientFiles | undefined {
  const pairs = typeof client === "string"
    ? [[client]]
    : client?.every((each) => typeof each === "string")
    ? [client]
    : client?.map((each) => typeof each === "string" ? [each] : each);
  const [pair, second] = pairs ?? [];
  if (pair === undefined || pair.length === 0) return undefined;
  const [certificate = "", key = "", ...more] = pair;
  const name = formatPath([...base, "client"]);
  if (second !== undefined || more.length > 0) throw refused(path, `${name} has more than one certificate and key`);
  return { certificate: inFolder(certificate), key: inFolder(key || certificate) };
}

function readHeaders(header: Readonly<Record<string, string | string[]>>, { base, path }: Place) {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    const text = typeof value === "string" ? value : value.join(", ");
    const at = formatPath([...base, "header"]);
    if (!HEADER_NAME.test(name)) throw refused(path, `${at} contains an invalid header name`);
    if (!HEADER_VALUE.test(text)) {
      throw refused(path, `${at}.${name} contains characters that are not allowed in a header`);
    }
    headers[name.toLowerCase()] = text;
  }
  return headers;
}

function readTimeout(input: string | number | undefined, { base, path }: Place): number | undefined {
  if (input === undefined) return undefined;
  const result = duration(input);
  if (result.ok) return result.value;
  throw refused(path, `${formatPath([...base, "dial_timeout"])} ${result.state}`);
}

function parseUrl(text: string, what: string, path: string): URL {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (!URL.canParse(full)) throw refused(path, `${what} is not a URL`);
  const url = new URL(full);
  if (url.username !== "" || url.password !== "") throw refused(path, `the URL of ${what} holds a password`);
  if (!/^https?:$/.test(url.protocol)) throw refused(path, `the URL of ${what} is neither https:// nor http://`);
  if (url.search !== "" || url.hash !== "") throw refused(path, `the URL of ${what} has a query or fragment`);
  return url;
}

function hostKeys({ host }: Record<string, unknown>): string[] {
  return typeof host === "object" && host !== null && !Array.isArray(host) ? Object.keys(host) : [];
}

function parseDocument(text: string, path: string): Record<string, unknown> {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // TOML errors quote the document, including headers
    throw refused(path, `line ${error.line}: it is not valid TOML`);
  }
}

function refused(path: string, state: string): NydusGdError {
  return new NydusGdError("config", `Cannot read ${path}: ${state}`);
}
