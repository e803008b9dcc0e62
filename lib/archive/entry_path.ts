/**
 * Names of tar entries as paths below a root, and for messages.
 *
 * A path has no leading or trailing slash and no "", "." and ".." components; "" is the root.
 *
 * @module
 */
import { type ByteString, fromByteString, toByteString } from "../base/bytes.ts";

/**
 * Converts a name of a tar to a path below the root, "" for the root; undefined for one that leads above it.
 *
 * ".." is resolved lexically, as in Docker.
 */
export function cleanPath(name: ByteString): ByteString | undefined {
  if (!/^\/|\/$|\/\/|(?:^|\/)\.\.?(?:\/|$)/.test(name)) return name;
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join("/");
}

/** Splits a path other than the root into folder and last component. */
export function splitPath(path: ByteString): { parent: ByteString; base: Uint8Array<ArrayBuffer> } {
  const slash = path.lastIndexOf("/");
  return { parent: path.slice(0, Math.max(slash, 0)), base: fromByteString(path.slice(slash + 1)) };
}

/** A path for a message. */
export function printable(path: ByteString): string {
  return new TextDecoder().decode(fromByteString(path)).replace(/\p{Cc}/gu, "\ufffd");
}

/** The name of a tar entry for messages. */
export function entryName(name: Uint8Array): string {
  return printable(toByteString(name));
}
