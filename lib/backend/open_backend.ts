/**
 * The backend that a configuration names, and registries that no configuration names.
 *
 * ```ts
 * using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
 * const deps = { http, keychain: new DockerKeychain({ configDir: dockerConfigDir() }) };
 * const backend = openBackend(parseNydusdConfig(text).backend, deps);
 * const other = openRegistry({ host: "docker.io", repo: "library/nginx" }, deps);
 * ```
 * Nothing is opened or asked yet: a wrong folder, host or password shows at the first read.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { isRegistryHost, isRepository } from "../oci/reference.ts";
import {
  type BackendConfig,
  decodeAuth,
  type HttpConfig,
  type HttpProxyConfig,
  type ObjectStoreConfig,
  type RegistryConfig,
} from "./backend_config.ts";
import type { Backend } from "./blob_source.ts";
import { LocalFsBackend } from "./localfs.ts";
import type { ServerAccess } from "./http/http_blob.ts";
import type { HttpClient, Timeouts, TlsOptions } from "./http/http_client.ts";
import { HttpProxyBackend } from "./http_proxy.ts";
import { LocalDiskBackend } from "./localdisk/localdisk.ts";
import { ObjectStore } from "./object_store/object_store.ts";
import { type Credential, firstOf, type Keychain, staticKeychain } from "./registry/keychain.ts";
import { RegistryBackend } from "./registry/registry_backend.ts";

/** Where Docker keeps the certificates of registries, a folder for each host. */
export const DOCKER_CERTS_DIR = "/etc/docker/certs.d";

/** What backends share. The caller owns `http` and disposes of it when the last backend is done. */
export interface BackendDeps {
  readonly http: HttpClient;
  /** Asked after the credentials of the configuration itself. */
  readonly keychain: Keychain;
  /** {@link DOCKER_CERTS_DIR} unless given. */
  readonly certsDir?: string;
  /** Base64 of "user:password" in place of the configured registry's; IMAGE_PULL_AUTH unless given. */
  readonly imagePullAuth?: string;
}

/** The registry of an image, where only its name is known. */
export interface RegistryLocation extends Partial<Omit<RegistryConfig, "type" | "host" | "repo">> {
  /** "docker.io", "localhost:5000". */
  readonly host: string;
  readonly repo: string;
  /** Named by an image and by nobody else: what is asked, and where answers lead, is confined (http/confinement.ts). */
  readonly confined?: boolean;
}

/**
 * The backend of nydusd's configuration.
 *
 * @throws {NydusGdError} "unsupported" for a backend or key that is understood but not served; "config"
 */
export function openBackend(config: BackendConfig, deps: BackendDeps): Backend {
  switch (config.type) {
    case "localfs":
      return new LocalFsBackend(config);
    case "registry": {
      const auth = deps.imagePullAuth ?? Deno.env.get("IMAGE_PULL_AUTH");
      return openRegistry(auth ? { ...config, auth } : config, deps);
    }
    case "oss":
    case "s3":
      return new ObjectStore(config, accessOf(config, deps));
    case "http-proxy":
      return new HttpProxyBackend(config, accessOf(config, deps));
    case "localdisk":
      return new LocalDiskBackend(config);
  }
}

/** How a server without a registry's protocol is reached. */
function accessOf(config: ObjectStoreConfig | HttpProxyConfig, { http }: BackendDeps): ServerAccess {
  const { type, proxy, skipVerify, caCertFiles } = config;
  for (const [key, value] of [["url", proxy.url], ["dragonfly_scheduler_endpoint", proxy.dragonflySchedulerEndpoint]]) {
    if (value === "") continue;
    const hint = `remove proxy.${key}`;
    throw new NydusGdError("unsupported", `Cannot open backend ${type}: proxy.${key} is not supported`, { hint });
  }
  const tls: TlsOptions = { skipVerify, caCertificates: readCertificates(caCertFiles) };
  return { http, exchange: { tls, timeouts: timeoutsOf(config) } };
}

/**
 * One repository of a registry, with the credentials of `location` before those of the keychain.
 *
 * @throws {NydusGdError} "unsupported", "config"
 */
export function openRegistry(location: RegistryLocation, deps: BackendDeps): RegistryBackend {
  const { host, repo, blobUrlScheme, blobRedirectedHost } = location;
  const fail = (code: "config" | "unsupported", state: string, hint?: string): never => {
    throw new NydusGdError(code, `Cannot open registry ${host}/${repo}: ${state}`, hint === undefined ? {} : { hint });
  };
  if (!isRegistryHost(host)) fail("config", "its host is no HOST or HOST:PORT");
  if (!isRepository(repo)) fail("config", "its repository's name is malformed");
  if (blobRedirectedHost !== undefined && !isRegistryHost(blobRedirectedHost)) {
    fail("config", "blob_redirected_host is no HOST or HOST:PORT");
  }
  if (location.proxy?.url) fail("unsupported", "proxy.url is not supported", "remove proxy.url");
  if (location.proxy?.dragonflySchedulerEndpoint) {
    fail("unsupported", "proxy.dragonfly_scheduler_endpoint is not supported", "remove the key");
  }
  const certsDir = join(deps.certsDir ?? DOCKER_CERTS_DIR, host);
  const tls: TlsOptions = {
    skipVerify: location.skipVerify ?? false,
    caCertificates: [...readCertificates(location.caCertFiles ?? []), ...readCertificates(certificatesIn(certsDir))],
  };
  return new RegistryBackend({
    http: deps.http,
    host,
    repo,
    scheme: location.scheme,
    keychain: firstOf(...ownCredentials(location).map(staticKeychain), deps.keychain),
    initialToken: location.registryToken,
    exchange: { tls, timeouts: timeoutsOf(location), confined: location.confined ?? false },
    rewriteRedirect: (url) => rewrite(url, blobUrlScheme, blobRedirectedHost),
  });
}

function ownCredentials(location: RegistryLocation): Credential[] {
  const { auth, host, repo } = location;
  if (!auth) return [];
  const decoded = decodeAuth(auth);
  if (decoded === undefined) {
    throw new NydusGdError("config", `Cannot open registry ${host}/${repo}: its auth is no base64 of user:password`, {
      hint: "mend auth in the configuration, or IMAGE_PULL_AUTH",
    });
  }
  return [{ kind: "basic", ...decoded }];
}

function timeoutsOf(config: Partial<HttpConfig>): Timeouts {
  const { timeoutMs, connectTimeoutMs } = config;
  return {
    ...(timeoutMs === undefined ? {} : { totalTimeoutMs: timeoutMs }),
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
  };
}

function rewrite(url: URL, scheme: "https" | "http" | undefined, host: string | undefined): URL {
  if (scheme === undefined && host === undefined) return url;
  const rewritten = new URL(url);
  if (scheme !== undefined) rewritten.protocol = `${scheme}:`;
  if (host !== undefined) {
    rewritten.port = "";
    rewritten.host = host;
  }
  return rewritten;
}

/** Docker's rule: every `*.crt` of the host's folder is a CA. */
function certificatesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".crt")).sort().map((name) => join(folder, name));
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return [];
    throw new NydusGdError("config", `Cannot read certificates of ${folder}: ${messageOf(error)}`, { cause: error });
  }
}

function readCertificates(paths: readonly string[]): string[] {
  return paths.map((path) => {
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      throw new NydusGdError("config", `Cannot read certificate ${path}: ${messageOf(error)}`, { cause: error });
    }
    if (!text.includes("-----BEGIN CERTIFICATE-----")) {
      throw new NydusGdError("config", `Cannot read certificate ${path}: it holds none in PEM form`);
    }
    return text;
  });
}
