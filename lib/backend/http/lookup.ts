/**
 * Name resolution in which names below "localhost" are always loopback; libc leaves that to the system's configuration.
 *
 * So `http://bucket.localhost:9000` reaches an object store on this machine without an entry in /etc/hosts. Source: RFC
 * 6761 section 6.3.
 *
 * @module
 */
import { lookup as systemLookup, type LookupAddress, type LookupOptions } from "node:dns";

type Callback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/** Whether `hostname` is below "localhost": "x.localhost". "localhost" itself is in every /etc/hosts. */
export function isBelowLocalhost(hostname: string): boolean {
  return /\.localhost\.?$/i.test(hostname);
}

/** node's dns.lookup with that rule, in the form of the option `lookup` of node:net and node:tls. */
export function lookup(hostname: string, options: LookupOptions, callback: Callback): void {
  systemLookup(isBelowLocalhost(hostname) ? "localhost" : hostname, options, callback);
}
