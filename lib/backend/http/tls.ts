/**
 * Which certificates are believed, and which is shown.
 *
 * @module
 */
import { getCACertificates, type SecureContextOptions as NodeOptions } from "node:tls";

/** How a host's certificate is checked. */
export interface TlsOptions {
  readonly skipVerify: boolean;
  /** PEM texts, believed beside the system's roots. */
  readonly caCertificates: readonly string[];
  readonly clientCertificate?: ClientCertificate | undefined;
}

/** What proves who we are to a host that asks for it. */
export interface ClientCertificate {
  /** The only host that it is shown to. */
  readonly hostname: string;
  /** PEM texts. */
  readonly certificate: string;
  readonly key: string;
}

/** {@link TlsOptions} as node:tls takes them. */
export type SecureContextOptions = Pick<NodeOptions, "ca" | "cert" | "key"> & { rejectUnauthorized?: boolean };

/** Of a backend that says nothing. */
export const DEFAULT_TLS: TlsOptions = { skipVerify: false, caCertificates: [] };

/** The options as they hold for one host. */
export function tlsFor(hostname: string, { clientCertificate, ...shown }: TlsOptions): TlsOptions {
  return clientCertificate?.hostname === hostname ? { ...shown, clientCertificate } : shown;
}

/** The machine's own roots, as an administrator changes them; those of the runtime where it has none. */
export function secureContext({ skipVerify, caCertificates, clientCertificate }: TlsOptions): SecureContextOptions {
  const own = clientCertificate === undefined
    ? {}
    : { cert: clientCertificate.certificate, key: clientCertificate.key };
  if (skipVerify) return { rejectUnauthorized: false, ...own };
  const system = getCACertificates("system");
  // Each new connection reads the whole list again, at 0.1 ms a certificate: no list is added to another.
  return { ca: [...(system.length > 0 ? system : getCACertificates("bundled")), ...caCertificates], ...own };
}
