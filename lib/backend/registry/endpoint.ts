/**
 * Where a registry is reached: its host and scheme.
 *
 * @module
 */
import { isLoopback } from "../http/loopback.ts";

/** Names of Docker Hub. */
const DOCKER_HUB_NAMES = new Set(["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/** The host that serves Docker Hub's registry. */
const DOCKER_HUB_HOST = "registry-1.docker.io";

/** Whether `host` is a name of Docker Hub. */
export function isDockerHub(host: string): boolean {
  return DOCKER_HUB_NAMES.has(host);
}

/** Returns the host to connect to for a registry's name. */
export function registryHost(name: string): string {
  return isDockerHub(name) ? DOCKER_HUB_HOST : name;
}

/** How to address a mirror, or a registry below an unusual path. */
export interface MirrorAddress {
  /** Replaces "/v2" at the start of paths: "/hub/v2", "". */
  readonly prefix: string;
  /** The registry that a mirror stands for, sent as `?ns=`; undefined for the registry itself. */
  readonly namespace: string | undefined;
}

const OWN: MirrorAddress = { prefix: "/v2", namespace: undefined };

/** Configuration of a host. */
export interface EndpointOptions {
  /** The configured scheme; undefined: detect it. */
  readonly scheme?: "https" | "http" | undefined;
  /** Ignore certificates. As in nydusd, this also allows the fallback to plain HTTP. */
  readonly skipVerify?: boolean | undefined;
  /** Address of a mirror; undefined: that of the registry itself. */
  readonly address?: MirrorAddress | undefined;
}

/**
 * The base URL of one registry. Starts with https. Falls back to plain HTTP permanently if that is allowed and the host
 * does not speak TLS.
 */
export class Endpoint {
  #scheme: "https" | "http";
  readonly #mayFallBack: boolean;

  readonly #address: MirrorAddress;

  /** @param name the registry's name, with its port if any */
  constructor(readonly name: string, { scheme, skipVerify = false, address = OWN }: EndpointOptions = {}) {
    this.#address = address;
    this.#scheme = scheme ?? "https";
    this.#mayFallBack = this.#scheme === "https" && (skipVerify || (scheme === undefined && isLoopback(name)));
  }

  /** Returns an absolute URL; `path` begins with "/v2/". */
  url(path: string): URL {
    const { prefix, namespace } = this.#address;
    const url = new URL(`${this.#scheme}://${registryHost(this.name)}${path.replace(/^\/v2(?=\/)/, () => prefix)}`);
    if (namespace !== undefined) url.searchParams.set("ns", namespace);
    return url;
  }

  /** Whether `url` is on the registry itself, which may see its credentials. */
  owns(url: URL): boolean {
    const own = this.url("/");
    return url.protocol === own.protocol && url.host === own.host;
  }

  /** Handles a failed TLS handshake. Returns true if the request should be repeated in plain HTTP. */
  fallBack(failed: URL): boolean {
    if (!this.#mayFallBack || failed.protocol !== "https:" || failed.host !== this.url("/").host) return false;
    this.#scheme = "http";
    return true;
  }
}
