/**
 * Registries that the administrator lets Docker ask without certificates: `insecure-registries` of daemon.json.
 *
 * ```json
 * { "insecure-registries": ["registry.example:5000", "10.0.0.0/8"] }
 * ```
 * A host stands for itself, with its port; a network for the registries that are named by an address in it. As in
 * Docker, loopback always belongs to them. They are asked by https without a check of the certificate, and by plain HTTP
 * if they do not speak TLS.
 *
 * What is written there also decides which hosts an image may name (../http/confinement.ts): the administrator's word
 * counts, not the image's. A network frees no address of this machine, though, and not what a registry in it leads to:
 * that takes its host and port.
 *
 * The file is looked at when a registry is opened, and read if it has changed: that applies from the next image on.
 * Source: moby 20.10 to 28, registry/config.go.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import * as v from "valibot";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { isOwnMachine } from "../http/confinement.ts";
import { isLoopback } from "../http/loopback.ts";

const log = logger("backend");

/** Docker's configuration file, unless its unit names another one. */
export const DAEMON_JSON = "/etc/docker/daemon.json";

const File = v.object({ "insecure-registries": v.optional(v.array(v.string()), []) });

interface Listed {
  readonly hosts: ReadonlySet<string>;
  readonly networks: BlockList;
}

/** The registries of one daemon.json. One instance per process. */
export class InsecureRegistries {
  readonly #warned = new Set<string>();
  #known: { readonly version: string; readonly listed: Listed } | undefined;

  constructor(private readonly path: string) {}

  /** Whether a registry, "registry.example:5000", is asked without certificates. */
  has(host: string): boolean {
    return isLoopback(host) || this.#lists(host, () => true);
  }

  /** Whether the registry is listed by name. Then an image may name it, and it may lead anywhere. */
  names(host: string): boolean {
    return this.#read().hosts.has(host);
  }

  /** Whether an image may name the registry, although it speaks no TLS. */
  frees(host: string): boolean {
    return this.#lists(host, (address) => !isOwnMachine(address));
  }

  /** @param takes whether the networks of the list stand for an address, as it is written in a URL */
  #lists(host: string, takes: (address: string) => boolean): boolean {
    const { hosts, networks } = this.#read();
    if (hosts.has(host)) return true;
    const { hostname } = new URL(`http://${host}`);
    const address = hostname.replace(/^\[(.*)\]$/, "$1");
    const version = isIP(address);
    return version !== 0 && takes(hostname) && networks.check(address, version === 4 ? "ipv4" : "ipv6");
  }

  #read(): Listed {
    const version = this.#version();
    if (version === undefined) return listedOf([]);
    if (this.#known?.version !== version) this.#known = { version, listed: listedOf(this.#entries()) };
    return this.#known.listed;
  }

  /** Identifies the file's present content; undefined if there is none. */
  #version(): string | undefined {
    return this.#unlessUnreadable(() => {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(this.path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join();
    });
  }

  #entries(): readonly string[] {
    const read = () => v.parse(File, JSON.parse(readFileSync(this.path, "utf8")))["insecure-registries"];
    return this.#unlessUnreadable(read) ?? [];
  }

  /** Docker does not start with a file that it cannot read: then nothing is pulled from these, either. */
  #unlessUnreadable<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) {
        return undefined;
      }
      const reason = messageOf(error);
      if (!this.#warned.has(reason)) log.warn("insecure-registries cannot be read", { path: this.path, reason });
      this.#warned.add(reason);
      return undefined;
    }
  }
}

function listedOf(entries: readonly string[]): Listed {
  const networks = new BlockList();
  const hosts = new Set<string>();
  for (const entry of entries) {
    const name = entry.replace(/^https?:\/\//i, "");
    const [, address = "", prefix = ""] = /^([^/]+)\/(\d{1,3})$/.exec(name) ?? [];
    const version = isIP(address);
    if (version === 0 || Number(prefix) > (version === 4 ? 32 : 128)) hosts.add(name);
    else networks.addSubnet(address, Number(prefix), version === 4 ? "ipv4" : "ipv6");
  }
  return { hosts, networks };
}
