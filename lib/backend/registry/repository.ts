/**
 * Interface of a repository of a registry, on one host or several.
 *
 * @module
 */
import type { ReadOptions } from "../blob_source.ts";
import type { HttpRequest } from "../http/http_client.ts";
import type { HttpResponse } from "../http/http_response.ts";
import type { RoutingOptions } from "../http/proxy.ts";
import type { Endpoint } from "./endpoint.ts";
import type { HostMemory } from "./host_memory.ts";

/** A request to the registry. */
export interface RegistryRequest extends Omit<HttpRequest, "url"> {
  /** Path below the registry: "/v2/library/nginx/manifests/latest". */
  readonly path: string;
  /** Completes "Cannot …" in errors: "read manifest latest from registry docker.io/library/nginx". */
  readonly what: string;
  /** The target of an earlier redirect, to start from. */
  readonly startAt?: URL | undefined;
}

/** One host of a repository. */
export interface RegistryHost {
  readonly endpoint: Endpoint;

  /** Sends `request` once and follows redirects. `consume` sees only responses below 300. */
  once<T>(
    request: RegistryRequest,
    options: RoutingOptions,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T>;
}

/** What a host may be used for. "pull": content by digest. "resolve": what a tag stands for. */
export type Capability = "pull" | "resolve";

/** Criteria for the choice of a host. */
export interface HostWish {
  readonly capability: Capability;
  /** The requested bytes of a blob, and what is known about the hosts of that blob. */
  readonly range?: { readonly memory: HostMemory; readonly offset: number; readonly length: number };
}

/** A repository on one host or several. */
export interface Repository {
  /** "registry docker.io/library/nginx". */
  readonly description: string;
  /** The name without the host: "library/nginx". */
  readonly name: string;

  /** Sends `request` until `consume` returns a result, it fails permanently, or retries are exhausted. */
  request<T>(
    request: RegistryRequest,
    options: ReadOptions,
    consume: (response: HttpResponse) => Promise<T>,
    wish?: HostWish,
  ): Promise<T>;

  /** Retries `attempt` by the client's rules; each round may try several hosts. */
  retrying<T>(
    options: ReadOptions,
    attempt: (host: RegistryHost, options: RoutingOptions) => Promise<T>,
    wish?: HostWish,
  ): Promise<T>;
}
