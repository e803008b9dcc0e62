/**
 * Waits for a program that does not report that it is ready.
 *
 * @module
 */
import { ignore } from "../../../lib/base/errors.ts";
import { until } from "../until.ts";

/** Interval between attempts to connect, milliseconds. */
const POLL_MS = 20;

/** Waits until the program accepts a connection; false if it ended before. */
export async function listening(program: Deno.ChildProcess, connect: () => Promise<Deno.Conn>): Promise<boolean> {
  let ended = false, connected = false;
  program.status.then(() => ended = true);
  await until("a program listens", async () => ended || (connected = await isAccepted(connect)), POLL_MS);
  return connected;
}

async function isAccepted(connect: () => Promise<Deno.Conn>): Promise<boolean> {
  const connection = await ignore([Deno.errors.NotFound, Deno.errors.ConnectionRefused], connect());
  connection?.close();
  return connection !== undefined;
}
