/**
 * A repository of a registry as blobs and manifests see it: at one host, or at one of several.
 *
 * @module
 */
import type { ReadOptions } from "../blob_source.ts";
import type { HttpResponse } from "../http/http_response.ts";
import type { RoutingOptions } from "../http/proxy.ts";
import type { HostMemory } from "./host_memory.ts";
import type { RegistryRequest, RegistryTransport } from "./transport.ts";

/** What a host is good for. "pull": content by its digest. "resolve": what a tag stands for. */
export type Capability = "pull" | "resolve";

/** What decides between hosts. */
export interface HostWish {
  readonly capability: Capability;
  /** The bytes of a blob that are asked for, and what was learned about that blob's hosts. */
  readonly range?: { readonly memory: HostMemory; readonly offset: number; readonly length: number };
}

/** See the module. */
export interface Repository {
  /** "registry docker.io/library/nginx". */
  readonly description: string;
  /** Its name without the host: "library/nginx". */
  readonly name: string;

  /** Sends `request` until `consume` has a result, it fails for good, or the retries are used up. */
  request<T>(
    request: RegistryRequest,
    options: ReadOptions,
    consume: (response: HttpResponse) => Promise<T>,
    wish?: HostWish,
  ): Promise<T>;

  /** Repeats `attempt` by the client's rules, each time with the hosts that are left. */
  retrying<T>(
    options: ReadOptions,
    attempt: (host: RegistryTransport, options: RoutingOptions) => Promise<T>,
    wish?: HostWish,
  ): Promise<T>;
}
