/**
 * Recognizes loopback hosts.
 *
 * @module
 */

/**
 * True for 127.0.0.0/8, ::1 and localhost, with or without a port. Plain HTTP is allowed there, and proxies are
 * bypassed.
 */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return name === "localhost" || name === "::1" || /^127(\.\d{1,3}){3}$/.test(name);
}
