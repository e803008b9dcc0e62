/**
 * Certificates of registries in Docker's layout.
 *
 * ```
 * /etc/docker/certs.d/registry.example.com:5000/ca.crt          trusted: every *.crt
 *                                               client.cert     presented to the registry, with
 *                                               client.key      its key
 * ```
 * Source: moby 20.10 to 27, registry/registry.go; docs.docker.com, "Verify repository client with certificates".
 *
 * @module
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import type { TlsOptions } from "../http/http_client.ts";
import { readCertificates, readPrivateKey } from "../http_setup.ts";
import { registryHost } from "./endpoint.ts";

/**
 * Reads the certificates of `host`; empty if it has no folder.
 *
 * @throws {NydusGdError} "config" for an invalid certificate or key, an incomplete pair, or a second pair
 */
export function dockerCertificates(
  certsDir: string,
  host: string,
): Pick<TlsOptions, "caCertificates" | "clientCertificate"> {
  const folder = join(certsDir, host);
  const names = namesIn(folder);
  const caCertificates = names.filter((name) => name.endsWith(".crt")).map((name) =>
    readCertificates(join(folder, name))
  );
  return { caCertificates, clientCertificate: clientCertificate(folder, names, host) };
}

function clientCertificate(folder: string, names: readonly string[], host: string): TlsOptions["clientCertificate"] {
  const refuse = (state: string) => new NydusGdError("config", `Cannot use certificates of ${folder}: ${state}`);
  for (const name of names) {
    const partner = name.replace(/\.key$/, ".cert");
    if (name.endsWith(".key") && !names.includes(partner)) throw refuse(`${name} has no ${partner}`);
  }
  const [certificate, second] = names.filter((name) => name.endsWith(".cert"));
  if (certificate === undefined) return undefined;
  if (second !== undefined) throw refuse("it holds more than one client certificate");
  const key = certificate.replace(/\.cert$/, ".key");
  if (!names.includes(key)) throw refuse(`${certificate} has no ${key} (a CA is a .crt)`);
  return {
    hostname: hostnameOf(host),
    certificate: readCertificates(join(folder, certificate)),
    key: readPrivateKey(join(folder, key)),
  };
}

/** Returns the host name of a registry as in URLs, without a port. */
export function hostnameOf(host: string): string {
  return new URL(`https://${registryHost(host)}`).hostname;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return [];
    throw new NydusGdError("config", `Cannot read certificates of ${folder}: ${messageOf(error)}`, { cause: error });
  }
}
