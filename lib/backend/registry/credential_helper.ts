/**
 * Docker's credential helpers: programs named `docker-credential-NAME` that store passwords outside config.json.
 *
 * `get` reads a server's name from standard input and prints `{"ServerURL","Username","Secret"}`; the user "<token>"
 * marks an identity token. Source: docker/docker-credential-helpers, README.
 *
 * @module
 */
import * as v from "valibot";
import { Deadline, throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { concatenate } from "../../base/bytes.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { parseWith } from "../../base/schema.ts";
import type { Credential } from "./credential.ts";

const ANSWER = v.object({ Username: v.string(), Secret: v.string() });

/** What helpers print if they have no credentials for a server. */
const NOT_FOUND = /credentials not found|no usernames|not logged in/i;

/**
 * Asks `docker-credential-<name>` for the credential of `server`; undefined if it has none.
 *
 * @throws {NydusGdError} "config" if the helper is missing, fails, times out or prints something else
 */
export async function runCredentialHelper(
  name: string,
  server: string,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  // The name comes from a file and is executed.
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw failed(name, "its name is not a plain word");
  using deadline = new Deadline(timeoutMs, signal, () => failed(name, `it did not answer within ${timeoutMs} ms`));
  const { status, text } = await askHelper(name, server, deadline.signal);
  if (!status.success) {
    if (NOT_FOUND.test(text)) return undefined;
    throw failed(name, `it ended with status ${status.code}`);
  }
  return parseHelperOutput(name, text);
}

/** How a helper ended, and what it printed. */
interface Answer {
  readonly status: Deno.CommandStatus;
  readonly text: string;
}

/** Runs the helper with `server` as its input. When the signal is aborted it is killed, and its output closed. */
async function askHelper(name: string, server: string, signal: AbortSignal): Promise<Answer> {
  try {
    const child = new Deno.Command(programOf(name), {
      args: ["get"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      signal,
    }).spawn();
    const pieces: Uint8Array[] = [];
    const keep = new WritableStream<Uint8Array>({ write: (piece) => void pieces.push(piece) });
    // what it has started may have its output open for longer than itself
    const ended = Promise.all([child.status, child.stdout.pipeTo(keep, { signal }), writeAll(child.stdin, server)]);
    const [status] = await unlessAborted(ended, signal);
    return { status, text: new TextDecoder().decode(concatenate(pieces)) };
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof Deno.errors.NotFound) throw failed(name, "it is not in PATH");
    throw failed(name, messageOf(error));
  }
}

/**
 * Parses the output of `get`; undefined if the helper has no credential.
 *
 * @throws {NydusGdError} "config" for anything else than a credential; the message does not quote it
 */
export function parseHelperOutput(name: string, text: string): Credential | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw failed(name, "it printed no valid JSON");
    throw error;
  }
  const result = parseWith(ANSWER, document);
  if (!result.ok) throw failed(name, "it printed no Username and Secret");
  const { Username: user, Secret: password } = result.value;
  if (user === "" && password === "") return undefined;
  const source = { name: programOf(name) };
  return user === "<token>"
    ? { kind: "identity-token", token: password, source }
    : { kind: "basic", user, password, source };
}

function programOf(name: string): string {
  return `docker-credential-${name}`;
}

/** A helper may exit without reading: its exit status decides. */
async function writeAll(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

function failed(name: string, state: string): NydusGdError {
  return new NydusGdError("config", `Cannot run credential helper ${programOf(name)}: ${state}`, {
    hint: "install the helper, or remove it from config.json and docker login again",
  });
}
