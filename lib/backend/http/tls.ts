/**
 * TLS options: trusted roots and client certificates.
 *
 * @module
 */
import { getCACertificates, type SecureContextOptions as NodeOptions } from "node:tls";

/** How to verify a host's certificate, and which one to present. */
export interface TlsOptions {
  readonly skipVerify: boolean;
  /** PEM texts, trusted in addition to the system's roots. */
  readonly caCertificates: readonly string[];
  readonly clientCertificate?: ClientCertificate | undefined;
}

/** A certificate to authenticate with. */
export interface ClientCertificate {
  /** The only host to which it is presented. */
  readonly hostname: string;
  /** PEM texts. */
  readonly certificate: string;
  readonly key: string;
}

/** {@link TlsOptions} in the form of node:tls. */
export type SecureContextOptions = Pick<NodeOptions, "ca" | "cert" | "key"> & { rejectUnauthorized?: boolean };

/** The options of a backend without its own. */
export const DEFAULT_TLS: TlsOptions = { skipVerify: false, caCertificates: [] };

/** Returns the options for one host: without a client certificate for another one. */
export function tlsFor(hostname: string, { clientCertificate, ...shown }: TlsOptions): TlsOptions {
  return clientCertificate?.hostname === hostname ? { ...shown, clientCertificate } : shown;
}

/** Trusts the system's roots, which an administrator can change; the runtime's bundled ones if there are none. */
export function secureContext({ skipVerify, caCertificates, clientCertificate }: TlsOptions): SecureContextOptions {
  const own = clientCertificate === undefined
    ? {}
    : { cert: clientCertificate.certificate, key: clientCertificate.key };
  if (skipVerify) return { rejectUnauthorized: false, ...own };
  const system = getCACertificates("system");
  // Each new connection parses the whole list, at 0.1 ms per certificate, so the two lists are not combined.
  return { ca: [...(system.length > 0 ? system : getCACertificates("bundled")), ...caCertificates], ...own };
}
