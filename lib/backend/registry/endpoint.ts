/**
 * Where a registry is: which host answers for a name, and which scheme it speaks.
 *
 * @module
 */
import { isLoopback } from "../http/loopback.ts";

/** Names that all mean Docker Hub. */
const DOCKER_HUB_NAMES = new Set(["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/** The host that serves Docker Hub's registry. */
export const DOCKER_HUB_HOST = "registry-1.docker.io";

/** True for every name of Docker Hub. */
export function isDockerHub(host: string): boolean {
  return DOCKER_HUB_NAMES.has(host);
}

/** The host to connect to for a registry's name. */
export function registryHost(name: string): string {
  return isDockerHub(name) ? DOCKER_HUB_HOST : name;
}

/** How a host is asked that is not the registry itself, or not where every registry is. */
export interface MirrorAddress {
  /** In place of "/v2" at the beginning of paths: "/hub/v2", "". */
  readonly prefix: string;
  /** The registry that the host stands for, sent as `?ns=`; undefined for that registry itself. */
  readonly namespace: string | undefined;
}

const OWN: MirrorAddress = { prefix: "/v2", namespace: undefined };

/**
 * The base URL of one registry. It begins with https and falls back to plain HTTP for good, where that is allowed and
 * the host turned out not to speak TLS.
 */
export class Endpoint {
  #scheme: "https" | "http";
  readonly #mayFallBack: boolean;

  /**
   * @param name the registry's name, with a port where it has one
   * @param scheme fixed by the configuration; undefined: to be found out
   * @param skipVerify as nydusd, a host whose certificate does not matter may also speak plain HTTP
   */
  constructor(
    readonly name: string,
    scheme: "https" | "http" | undefined,
    skipVerify: boolean,
    private readonly address: MirrorAddress = OWN,
  ) {
    this.#scheme = scheme ?? "https";
    this.#mayFallBack = this.#scheme === "https" && (skipVerify || (scheme === undefined && isLoopback(name)));
  }

  /** An absolute URL; `path` begins with "/v2/". */
  url(path: string): URL {
    const { prefix, namespace } = this.address;
    const url = new URL(`${this.#scheme}://${registryHost(this.name)}${path.replace(/^\/v2(?=\/)/, () => prefix)}`);
    if (namespace !== undefined) url.searchParams.set("ns", namespace);
    return url;
  }

  /** True when `url` is this registry itself: what may see its credentials. */
  owns(url: URL): boolean {
    const own = this.url("/");
    return url.protocol === own.protocol && url.host === own.host;
  }

  /** After the handshake with `failed` failed: true when the request is worth sending again, in plain HTTP. */
  fallBack(failed: URL): boolean {
    if (!this.#mayFallBack || failed.protocol !== "https:" || failed.host !== this.url("/").host) return false;
    this.#scheme = "http";
    return true;
  }
}
