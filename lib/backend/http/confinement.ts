/**
 * Restricts requests whose target only an image names to other machines, over TLS with a trusted certificate.
 *
 * Cloud metadata services (169.254.169.254 and the like), daemons on loopback and anything else on plain HTTP get no
 * request at all, whether directly, by a redirect or as a token server. A DNS name that resolves to such an address
 * gets no further than the TLS handshake, since the server there lacks a certificate for that name. Ranges: RFC 6890.
 * URLs have normalised hosts (WHATWG), so `0x7f.1` is seen as 127.0.0.1.
 *
 * @module
 */
import { TransferError } from "./transfer_error.ts";

/** @throws {TransferError} "unavailable", permanent, if a confined request must not go to `url` */
export function confine(url: URL): void {
  if (isOwnMachine(url.hostname)) throw refused(`${url.host} is a loopback or link-local address`);
  if (url.protocol !== "https:") throw refused(`${url.host} would be contacted over plain HTTP`);
}

/** Whether `hostname` (as in URL) is a loopback, link-local or unspecified address, or a name of loopback. */
export function isOwnMachine(hostname: string): boolean {
  const name = hostname.replace(/\.$/, "");
  if (name === "localhost" || name.endsWith(".localhost")) return true;
  const octets = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(name);
  if (octets !== null) return isOwnIpv4(Number(octets[1]), Number(octets[2]));
  if (!name.startsWith("[")) return false;
  const mapped = /^\[::(?:ffff:)?([0-9a-f]{1,4}):[0-9a-f]{1,4}\]$/.exec(name);
  if (mapped !== null) return isOwnIpv4(parseInt(mapped[1] ?? "", 16) >> 8, parseInt(mapped[1] ?? "", 16) & 0xff);
  return name === "[::]" || name === "[::1]" || /^\[fe[89ab][0-9a-f]:/.test(name);
}

function isOwnIpv4(first: number, second: number): boolean {
  return first === 127 || first === 0 || (first === 169 && second === 254);
}

function refused(state: string): TransferError {
  return new TransferError("unavailable", `an image may not lead there: ${state}`, {
    prospect: "permanent",
    hint: "add the registry that the image names to fetch.trusted_origins, or to insecure-registries of daemon.json",
  });
}
