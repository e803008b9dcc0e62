/**
 * Builds the hosts of a repository from its `hosts.toml`.
 *
 * Credentials, certificates and redirect rewriting of the registry do not apply to mirrors. Its limits and proxies do.
 *
 * The operator has written the file: so its mirrors, and a registry that has a file of its own, are not confined
 * (../http/confinement.ts), whoever named the registry.
 *
 * @module
 */
import type { ExchangeSetup } from "../http_setup.ts";
import { readCertificates, readPrivateKey } from "../http_setup.ts";
import type { TlsOptions } from "../http/http_client.ts";
import { type Mirrors, registryNamespace } from "./certs_dir.ts";
import { dockerCertificates, hostnameOf } from "./docker_certificates.ts";
import { registryHost } from "./endpoint.ts";
import type { HostSettings } from "./hosts_file.ts";
import type { Keychain } from "./keychain.ts";
import { MirroredTransport, type RepositoryHost } from "./mirrored_transport.ts";
import type { Repository } from "./repository.ts";
import { RegistryTransport, type TransportOptions } from "./transport.ts";

/** Dependencies of mirrors. */
export interface MirrorDeps {
  /** Undefined: no mirrors. */
  readonly mirrors: Mirrors | undefined;
  /** Consulted with each mirror's own host. */
  readonly keychain: Keychain;
  /** Docker's folder of registry certificates. */
  readonly certsDir: string;
}

/**
 * Returns the repository `own` with the mirrors of its `hosts.toml`, if any.
 *
 * @throws {NydusGdError} "config" for an unusable hosts.toml or certificate
 */
export function repositoryOf(own: TransportOptions, deps: MirrorDeps): Repository {
  const file = deps.mirrors?.of(own.host);
  if (deps.mirrors === undefined || file === undefined) return new RegistryTransport(own);
  const { url } = file.upstream;
  const isItself = url === undefined || registryHost(url.host) === registryHost(own.host);
  const upstream = isItself
    ? withSettings(file.isOwn ? unconfined(own) : own, file.upstream)
    : mirrorOptions(own, file.upstream, url, deps);
  return new MirroredTransport(
    file.mirrors.flatMap((mirror) =>
      mirror.url === undefined ? [] : hostOf(mirrorOptions(own, mirror, mirror.url, deps), mirror)
    ),
    hostOf(upstream, file.upstream),
    `registry ${own.host}/${own.repo}`,
    deps.mirrors.health,
  );
}

function hostOf(options: TransportOptions, { capabilities }: HostSettings): RepositoryHost {
  return { transport: new RegistryTransport(options), capabilities };
}

/** Adds the file's settings to those of the registry itself. */
function withSettings(own: TransportOptions, settings: HostSettings): TransportOptions {
  const { exchange, tokenExchange, host } = own;
  const { skipVerify = false, caCertificates = [], clientCertificate } = exchange.tls ?? {};
  const added = tlsOf(settings, host, { caCertificates, clientCertificate });
  const tls = { ...added, skipVerify: skipVerify || added.skipVerify };
  return {
    ...own,
    scheme: schemeOf(settings.url) ?? own.scheme,
    headers: settings.headers,
    address: { prefix: settings.prefix, namespace: undefined },
    exchange: setupOf(exchange, tls, settings),
    tokenExchange: setupOf(tokenExchange, tls, settings),
  };
}

function unconfined(own: TransportOptions): TransportOptions {
  const { exchange, tokenExchange } = own;
  return { ...own, exchange: { ...exchange, confined: false }, tokenExchange: { ...tokenExchange, confined: false } };
}

function mirrorOptions(
  own: TransportOptions,
  settings: HostSettings,
  url: URL,
  { keychain, certsDir }: MirrorDeps,
): TransportOptions {
  const { http, repo, exchange, tokenExchange } = unconfined(own);
  const tls = tlsOf(settings, url.host, dockerCertificates(certsDir, url.host));
  return {
    http,
    repo,
    keychain,
    host: url.host,
    scheme: schemeOf(url),
    headers: settings.headers,
    address: { prefix: settings.prefix, namespace: registryNamespace(own.host) },
    exchange: setupOf(exchange, tls, settings),
    tokenExchange: setupOf(tokenExchange, tls, settings),
  };
}

function setupOf(setup: ExchangeSetup, tls: TlsOptions, { dialTimeoutMs }: HostSettings): ExchangeSetup {
  const timeouts = dialTimeoutMs === undefined ? {} : { connectTimeoutMs: dialTimeoutMs };
  return { ...setup, tls, timeouts: { ...setup.timeouts, ...timeouts } };
}

function tlsOf(settings: HostSettings, host: string, own: Omit<TlsOptions, "skipVerify">): TlsOptions {
  const { client, caFiles, skipVerify } = settings;
  return {
    skipVerify,
    caCertificates: [...own.caCertificates, ...caFiles.map(readCertificates)],
    clientCertificate: client === undefined ? own.clientCertificate : {
      hostname: hostnameOf(host),
      certificate: readCertificates(client.certificate),
      key: readPrivateKey(client.key),
    },
  };
}

function schemeOf(url: URL | undefined): "https" | "http" | undefined {
  if (url === undefined) return undefined;
  return url.protocol === "https:" ? "https" : "http";
}
