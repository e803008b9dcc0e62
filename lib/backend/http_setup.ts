/**
 * HTTP settings of a configured backend: trusted certificates, limits, proxy.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { messageOf, NydusGdError } from "../base/errors.ts";
import type { HttpConfig } from "./backend_config.ts";
import { BackendProxy } from "./http/backend_proxy.ts";
import type { ExchangeOptions, HttpClient, TlsOptions } from "./http/http_client.ts";

/** Options shared by all exchanges of a backend. */
export type ExchangeSetup = Pick<
  ExchangeOptions,
  "tls" | "timeouts" | "proxy" | "socketPath" | "confined" | "freedHost"
>;

/**
 * Returns the HTTP settings that a backend's configuration asks for.
 *
 * @param own certificates in addition to the configured CAs
 * @throws {NydusGdError} "config" for an invalid certificate
 */
export function exchangeSetup(
  config: Partial<HttpConfig>,
  http: HttpClient,
  own: Partial<Pick<TlsOptions, "caCertificates" | "clientCertificate">> = {},
): ExchangeSetup {
  const { skipVerify = false, caCertFiles = [], timeoutMs, connectTimeoutMs, proxy } = config;
  const setup = {
    tls: {
      skipVerify,
      caCertificates: [...caCertFiles.map(readCertificates), ...own.caCertificates ?? []],
      clientCertificate: own.clientCertificate,
    },
    timeouts: {
      ...(timeoutMs === undefined ? {} : { totalTimeoutMs: timeoutMs }),
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    },
  };
  if (proxy?.address === undefined) return setup;
  const { address } = proxy;
  return { ...setup, proxy: new BackendProxy({ ...proxy, address }, http, setup) };
}

/** Reads a PEM file of certificates. @throws {NydusGdError} "config" */
export function readCertificates(path: string): string {
  return readPem(path, "certificate", /-----BEGIN (TRUSTED )?CERTIFICATE-----/);
}

/** Reads a PEM file of a private key. @throws {NydusGdError} "config" */
export function readPrivateKey(path: string): string {
  return readPem(path, "private key", /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/);
}

function readPem(path: string, what: string, marker: RegExp): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new NydusGdError("config", `Cannot read ${what} ${path}: ${messageOf(error)}`, { cause: error });
  }
  if (!marker.test(text)) {
    throw new NydusGdError("config", `Cannot read ${what} ${path}: it contains none in PEM format`);
  }
  return text;
}
