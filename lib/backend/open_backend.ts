/**
 * Opens the backend of a configuration, and registries that no configuration names.
 *
 * ```ts
 * using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
 * const deps = { http, keychain: new DockerKeychain({ configDir: dockerConfigDir() }) };
 * const backend = openBackend(parseNydusdConfig(text).backend, deps);
 * const other = openRegistry({ host: "docker.io", repo: "library/nginx" }, deps);
 * ```
 * Blobs are not accessed yet: a wrong folder, host or password shows on the first read.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { isRegistryHost, isRepository } from "../oci/reference.ts";
import {
  type BackendConfig,
  decodeAuth,
  type HttpProxyConfig,
  type ObjectStoreConfig,
  type RegistryConfig,
} from "./backend_config.ts";
import type { Backend } from "./blob_source.ts";
import { type Environment, EnvironmentProxy } from "./http/environment_proxy.ts";
import type { ServerAccess } from "./http/http_blob.ts";
import type { HttpClient } from "./http/http_client.ts";
import { HttpProxyBackend } from "./http_proxy.ts";
import { exchangeSetup } from "./http_setup.ts";
import { LocalDiskBackend } from "./localdisk/localdisk.ts";
import { LocalFsBackend } from "./localfs.ts";
import { ObjectStore } from "./object_store/object_store.ts";
import type { InsecureRegistries } from "./registry/insecure_registries.ts";
import type { Mirrors } from "./registry/certs_dir.ts";
import { dockerCertificates } from "./registry/docker_certificates.ts";
import type { Credential, CredentialSource } from "./registry/credential.ts";
import { firstOf, type Keychain, staticKeychain } from "./registry/keychain.ts";
import { RegistryBackend } from "./registry/registry_backend.ts";
import { repositoryOf } from "./registry/repository_hosts.ts";
import type { TransportOptions } from "./registry/transport.ts";

/** Docker's folder of registry certificates, with a subfolder per host. */
const DOCKER_CERTS_DIR = "/etc/docker/certs.d";

const CONFIGURED_AUTH: CredentialSource = {
  name: "auth of the configured backend",
  hint: "correct auth in the backend's configuration",
};
const IMAGE_PULL_AUTH: CredentialSource = { name: "IMAGE_PULL_AUTH", hint: "correct IMAGE_PULL_AUTH" };

/** Dependencies shared by all backends. The caller owns `http` and disposes of it after the last use of a backend. */
export interface BackendDeps {
  readonly http: HttpClient;
  /** Consulted after the credentials of the configuration itself. */
  readonly keychain: Keychain;
  /** Default: {@link DOCKER_CERTS_DIR}. */
  readonly certsDir?: string;
  /** Mirrors of registries. Default: none. */
  readonly mirrors?: Mirrors;
  /** Registries that are asked without certificates unless their configuration has a scheme. Default: none. */
  readonly insecure?: InsecureRegistries;
  /** Source of proxies for registries without a configured one. Default: the environment of this process. */
  readonly environment?: Environment;
  /** Base64 of "user:password" that replaces the configured registry's. Default: IMAGE_PULL_AUTH. */
  readonly imagePullAuth?: string;
}

/** A repository of a registry, with optional settings. */
export interface RegistryLocation extends Partial<Omit<RegistryConfig, "type" | "host" | "repo">> {
  /** "docker.io", "localhost:5000". */
  readonly host: string;
  readonly repo: string;
  /** Where `auth` comes from. Default: the configuration. */
  readonly authSource?: CredentialSource;
  /** Whether only an image names the registry. Requests and redirects are then confined (http/confinement.ts). */
  readonly confined?: boolean;
  /** Default: "pull". Writers need "pull,push". */
  readonly actions?: string;
}

/**
 * Opens the backend of nydusd's configuration.
 *
 * @throws {NydusGdError} "config"
 */
export function openBackend(config: BackendConfig, deps: BackendDeps): Backend {
  switch (config.type) {
    case "localfs":
      return new LocalFsBackend(config);
    case "registry":
      return openConfiguredRegistry(config, deps);
    case "oss":
    case "s3":
      return new ObjectStore(config, accessOf(config, deps));
    case "http-proxy":
      return new HttpProxyBackend(config, accessOf(config, deps));
    case "localdisk":
      return new LocalDiskBackend(config);
  }
}

/** Opens the registry of nydusd's configuration. @throws as {@link openRegistry} */
export function openConfiguredRegistry(config: RegistryConfig, deps: BackendDeps): RegistryBackend {
  const auth = deps.imagePullAuth ?? Deno.env.get("IMAGE_PULL_AUTH");
  return openRegistry(auth ? { ...config, auth, authSource: IMAGE_PULL_AUTH } : config, deps);
}

/** Returns how to reach a server that is not a registry. */
function accessOf(config: ObjectStoreConfig | HttpProxyConfig, { http }: BackendDeps): ServerAccess {
  return { http, exchange: exchangeSetup(config, http) };
}

/**
 * Opens one repository of a registry. Credentials in `location` take precedence over the keychain.
 *
 * @throws {NydusGdError} "config"
 */
export function openRegistry(location: RegistryLocation, deps: BackendDeps): RegistryBackend {
  const { host, repo, blobUrlScheme, blobRedirectedHost } = location;
  const fail = (state: string): never => {
    throw new NydusGdError("config", `Cannot open registry ${host}/${repo}: ${state}`);
  };
  if (!isRegistryHost(host)) fail("its host is not HOST or HOST:PORT");
  if (!isRepository(repo)) fail("its repository's name is malformed");
  if (blobRedirectedHost !== undefined && !isRegistryHost(blobRedirectedHost)) {
    fail("blob_redirected_host is not HOST or HOST:PORT");
  }
  const certsDir = deps.certsDir ?? DOCKER_CERTS_DIR;
  const certificates = dockerCertificates(certsDir, host);
  const isInsecure = location.scheme === undefined && (deps.insecure?.has(host) ?? false);
  const verified = isInsecure ? { ...location, skipVerify: true } : location;
  const { proxy, ...direct } = exchangeSetup(verified, deps.http, certificates);
  const environment = proxy === undefined ? new EnvironmentProxy(deps.environment ?? Deno.env.toObject()) : undefined;
  const confined = location.confined ?? false;
  const freedHost = confined && deps.insecure?.frees(host) ? host : undefined;
  const own: TransportOptions = {
    http: deps.http,
    host,
    repo,
    scheme: location.scheme,
    keychain: firstOf(...ownCredentials(location).map(staticKeychain), deps.keychain),
    initialToken: location.registryToken,
    ...(location.actions === undefined ? {} : { actions: location.actions }),
    exchange: { ...direct, confined, freedHost, proxy: proxy ?? environment },
    // nydusd's proxy is for data only
    tokenExchange: { ...direct, confined, freedHost, proxy: environment },
    rewriteRedirect: (url) => rewrite(url, blobUrlScheme, blobRedirectedHost),
  };
  return new RegistryBackend(repositoryOf(own, { mirrors: deps.mirrors, keychain: deps.keychain, certsDir }));
}

function ownCredentials({ auth, authSource: source = CONFIGURED_AUTH, host, repo }: RegistryLocation): Credential[] {
  if (!auth) return [];
  const decoded = decodeAuth(auth);
  if (decoded === undefined) {
    const state = `${source.name} is not base64 of user:password`;
    const hint = source.hint === undefined ? {} : { hint: source.hint };
    throw new NydusGdError("config", `Cannot open registry ${host}/${repo}: ${state}`, hint);
  }
  return [{ kind: "basic", ...decoded, source }];
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
