/**
 * A self-signed certificate for localhost and 127.0.0.1, and its key.
 *
 * @module
 */
const FOLDER = new URL("../../fixtures/tls/", import.meta.url);

/** Paths of PEM files. */
export const CERTIFICATE_FILE = decodeURIComponent(new URL("certificate.pem", FOLDER).pathname);
export const KEY_FILE = decodeURIComponent(new URL("key.pem", FOLDER).pathname);

/** Their contents. */
export const TLS = {
  certificate: Deno.readTextFileSync(CERTIFICATE_FILE),
  key: Deno.readTextFileSync(KEY_FILE),
} as const;
