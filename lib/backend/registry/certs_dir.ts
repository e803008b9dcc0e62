/**
 * Finds the `hosts.toml` of a registry, in folders laid out like containerd's `certs.d`.
 *
 * ```
 * /etc/nydus-gd/certs.d/registry.example.com_5000_/hosts.toml    first
 *                       registry.example.com:5000/hosts.toml
 *                       docker.io/hosts.toml                     Docker Hub by any of its names
 *                       _default/hosts.toml                      registries without their own
 * ```
 * Files are read when a repository is opened, so a change applies from the next image on.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { isDockerHub } from "./endpoint.ts";
import { HostHealth } from "./host_health.ts";
import { type HostsFile, parseHostsFile } from "./hosts_file.ts";

/** Searched for mirrors unless `fetch.certs_dir` is set. */
const DEFAULT_CERTS_DIRS = ["/etc/nydus-gd/certs.d", "/etc/containerd/certs.d"];

/** Folder for registries without their own. */
const DEFAULT_NAME = "_default";

const MAX_FILE_BYTES = 1 << 20;

/** Returns the folders for the setting `fetch.certs_dir`. */
export function certsDirs(configured: string | undefined): readonly string[] {
  return configured === undefined ? DEFAULT_CERTS_DIRS : [configured];
}

/** Returns the name under which mirrors know a registry. */
export function registryNamespace(host: string): string {
  return isDockerHub(host) ? "docker.io" : host;
}

/** The `hosts.toml` that applies to a registry. */
export interface FoundHosts extends HostsFile {
  /** Whether the file is for this registry alone, not for all that have none of their own. */
  readonly isOwn: boolean;
}

/** The mirrors of all registries, and their health. One instance per process. */
export class Mirrors {
  readonly #named = new Set<string>();

  /** @param folders in search order */
  constructor(private readonly folders: readonly string[], readonly health: HostHealth = new HostHealth()) {}

  /**
   * Returns the `hosts.toml` of a registry; undefined if there is none.
   *
   * @throws {NydusGdError} "config" for a file that cannot be read or is invalid
   */
  of(host: string): FoundHosts | undefined {
    for (const folder of this.folders) {
      for (const name of folderNames(registryNamespace(host))) {
        const path = join(folder, name, "hosts.toml");
        const text = readBounded(path);
        if (text !== undefined) return { ...this.#parse(text, path), isOwn: name !== DEFAULT_NAME };
      }
    }
    return undefined;
  }

  #parse(text: string, path: string): HostsFile {
    const file = parseHostsFile(text, path);
    for (const key of file.unknown) {
      const words = `${path}: ${key} is unknown and ignored`;
      if (!this.#named.has(words)) logger("backend").warn(words);
      this.#named.add(words);
    }
    return file;
  }
}

/** Returns folder names in containerd's search order. Another port is another registry. */
function folderNames(host: string): string[] {
  const [, name, port] = /^(.+):(\d+)$/.exec(host) ?? [];
  return [...(name === undefined ? [] : [`${name}_${port}_`]), host, DEFAULT_NAME];
}

function readBounded(path: string): string | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (!stat.isFile()) throw new Error("it is not a file");
    if (stat.size > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOTDIR") return undefined;
    throw new NydusGdError("config", `Cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}
