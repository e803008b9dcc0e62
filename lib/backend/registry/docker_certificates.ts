/**
 * Certificates of registries as Docker keeps them.
 *
 * ```
 * /etc/docker/certs.d/registry.example.com:5000/ca.crt          believed: every *.crt
 *                                               client.cert     shown to the registry, with
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
 * What the folder of `host` holds; nothing where there is none.
 *
 * @throws {NydusGdError} "config" for a file that is no certificate or key, a pair that is incomplete, a second pair
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

/** The name of a registry's host as URLs have it: without a port. */
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
