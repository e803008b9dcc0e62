/**
 * How far a request may go that is sent on nobody's word but an image's: to other machines, over TLS with a certificate
 * that is believed, and not to this machine or its link.
 *
 * Metadata services of clouds (169.254.169.254 and their kin), daemons on loopback and whatever else answers plain HTTP
 * get no request at all, neither at once nor by a redirect or a token server. A name that leads there meets TLS: who
 * answers would have to show a certificate for that very name. Ranges: RFC 6890; URLs have their hosts normalised
 * (WHATWG), so `0x7f.1` is 127.0.0.1 here.
 *
 * @module
 */
import { TransferError } from "./transfer_error.ts";

/** @throws {TransferError} "unavailable", permanent, when a confined request may not go to `url` */
export function confine(url: URL): void {
  if (isOwnMachine(url.hostname)) throw refused(`${url.host} is this machine or its link`);
  if (url.protocol !== "https:") throw refused(`${url.host} is to be asked in plain HTTP`);
}

/** True for loopback, link-local and unspecified addresses, and names of loopback. `hostname` as URL has it. */
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
    hint: "add the registry that the image names to fetch.trusted_origins, or set device.backend in the configuration",
  });
}
