/**
 * What was written to a connection and is still on its way to the other end.
 *
 * A write ends when the kernel has the bytes, of which it holds megabytes; on a slow link they take minutes more. Source:
 * proc(5), `/proc/net/tcp`: columns `sl local_address rem_address st tx_queue:rx_queue`, numbers in hexadecimal,
 * addresses as `IP:PORT`; tx_queue counts bytes that the other end has not acknowledged.
 *
 * @module
 */
import type { Socket } from "node:net";
import { readProcessFile } from "../../../ffi/procfs.ts";

/** One for each version of IP; an IPv4 address may be in either. A kernel without IPv6 lacks the second. */
const TABLES = ["net/tcp", "net/tcp6"];

/** Returns the number of bytes; undefined if the kernel does not tell, as of a Unix socket. */
export function unacknowledgedBytes({ localPort, remotePort }: Socket): number | undefined {
  if (localPort === undefined || remotePort === undefined) return undefined;
  const ports = new RegExp(
    `^ *\\d+: [0-9A-F]+:${portText(localPort)} [0-9A-F]+:${portText(remotePort)} [0-9A-F]{2} ([0-9A-F]{8}):`,
    "gm",
  );
  const queues = TABLES.flatMap((name) =>
    [...(readProcessFile("self", name) ?? "").matchAll(ports)].map(([, queue]) => Number(`0x${queue}`))
  );
  // other addresses may have the same ports: then the one that has progressed least
  return queues.length === 0 ? undefined : Math.max(...queues);
}

function portText(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}
