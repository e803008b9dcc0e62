/**
 * Addresses of hosts, with the one rule that libc leaves to the machine's set-up: names below "localhost" are loopback.
 *
 * So `http://bucket.localhost:9000` reaches an object store on this machine without an entry in /etc/hosts. Source:
 * RFC 6761 section 6.3.
 *
 * @module
 */
import { lookup as systemLookup, type LookupAddress, type LookupOptions } from "node:dns";

type Callback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/** True for "x.localhost" and what is below it. "localhost" itself is in every /etc/hosts. */
export function isBelowLocalhost(hostname: string): boolean {
  return /\.localhost\.?$/i.test(hostname);
}

/** node's dns.lookup, as agents of node:http take it. */
export function lookup(hostname: string, options: LookupOptions, callback: Callback): void {
  systemLookup(isBelowLocalhost(hostname) ? "localhost" : hostname, options, callback);
}
