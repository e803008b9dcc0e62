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
import type { Mirrors } from "./registry/certs_dir.ts";
import { dockerCertificates } from "./registry/docker_certificates.ts";
import { type Credential, type CredentialSource, firstOf, type Keychain, staticKeychain } from "./registry/keychain.ts";
import { RegistryBackend } from "./registry/registry_backend.ts";
import { repositoryOf } from "./registry/repository_hosts.ts";
import type { TransportOptions } from "./registry/transport.ts";

/** Where Docker keeps the certificates of registries, a folder for each host. */
export const DOCKER_CERTS_DIR = "/etc/docker/certs.d";

const CONFIGURED_AUTH: CredentialSource = {
  name: "auth of the configured backend",
  hint: "mend auth in the backend's configuration",
};
const IMAGE_PULL_AUTH: CredentialSource = { name: "IMAGE_PULL_AUTH", hint: "mend IMAGE_PULL_AUTH" };

/** What backends share. The caller owns `http` and disposes of it when the last backend is done. */
export interface BackendDeps {
  readonly http: HttpClient;
  /** Asked after the credentials of the configuration itself. */
  readonly keychain: Keychain;
  /** {@link DOCKER_CERTS_DIR} unless given. */
  readonly certsDir?: string;
  /** Where registries have mirrors; they have none unless given. */
  readonly mirrors?: Mirrors;
  /** Names the proxies of registries whose configuration has none; this process's unless given. */
  readonly environment?: Environment;
  /** Base64 of "user:password" in place of the configured registry's; IMAGE_PULL_AUTH unless given. */
  readonly imagePullAuth?: string;
}

/** The registry of an image, where only its name is known. */
export interface RegistryLocation extends Partial<Omit<RegistryConfig, "type" | "host" | "repo">> {
  /** "docker.io", "localhost:5000". */
  readonly host: string;
  readonly repo: string;
  /** Where `auth` stands; in the configuration unless given. */
  readonly authSource?: CredentialSource;
  /** Named by an image and by nobody else: what is asked, and where answers lead, is confined (http/confinement.ts). */
  readonly confined?: boolean;
  /** "pull" unless given; "pull,push" for who writes. */
  readonly actions?: string;
}

/**
 * The backend of nydusd's configuration.
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

/** The registry of nydusd's configuration. @throws as {@link openRegistry} */
export function openConfiguredRegistry(config: RegistryConfig, deps: BackendDeps): RegistryBackend {
  const auth = deps.imagePullAuth ?? Deno.env.get("IMAGE_PULL_AUTH");
  return openRegistry(auth ? { ...config, auth, authSource: IMAGE_PULL_AUTH } : config, deps);
}

/** How a server without a registry's protocol is reached. */
function accessOf(config: ObjectStoreConfig | HttpProxyConfig, { http }: BackendDeps): ServerAccess {
  return { http, exchange: exchangeSetup(config, http) };
}

/**
 * One repository of a registry, with the credentials of `location` before those of the keychain.
 *
 * @throws {NydusGdError} "config"
 */
export function openRegistry(location: RegistryLocation, deps: BackendDeps): RegistryBackend {
  const { host, repo, blobUrlScheme, blobRedirectedHost } = location;
  const fail = (state: string): never => {
    throw new NydusGdError("config", `Cannot open registry ${host}/${repo}: ${state}`);
  };
  if (!isRegistryHost(host)) fail("its host is no HOST or HOST:PORT");
  if (!isRepository(repo)) fail("its repository's name is malformed");
  if (blobRedirectedHost !== undefined && !isRegistryHost(blobRedirectedHost)) {
    fail("blob_redirected_host is no HOST or HOST:PORT");
  }
  const certsDir = deps.certsDir ?? DOCKER_CERTS_DIR;
  const certificates = dockerCertificates(certsDir, host);
  const { proxy, ...direct } = exchangeSetup(location, deps.http, certificates);
  const environment = proxy === undefined ? new EnvironmentProxy(deps.environment ?? Deno.env.toObject()) : undefined;
  const confined = location.confined ?? false;
  const own: TransportOptions = {
    http: deps.http,
    host,
    repo,
    scheme: location.scheme,
    keychain: firstOf(...ownCredentials(location).map(staticKeychain), deps.keychain),
    initialToken: location.registryToken,
    ...(location.actions === undefined ? {} : { actions: location.actions }),
    exchange: { ...direct, confined, proxy: proxy ?? environment },
    // the proxy of nydusd's configuration is one for data
    tokenExchange: { ...direct, confined, proxy: environment },
    rewriteRedirect: (url) => rewrite(url, blobUrlScheme, blobRedirectedHost),
  };
  return new RegistryBackend(repositoryOf(own, { mirrors: deps.mirrors, keychain: deps.keychain, certsDir }));
}

function ownCredentials({ auth, authSource: source = CONFIGURED_AUTH, host, repo }: RegistryLocation): Credential[] {
  if (!auth) return [];
  const decoded = decodeAuth(auth);
  if (decoded === undefined) {
    const state = `${source.name} is no base64 of user:password`;
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
