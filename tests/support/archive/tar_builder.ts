/**
 * Small archives for tests, one entry per line.
 *
 * ```ts
 * const tar = tarOf(dir("d"), file("d/f", "text", { uid: 7 }), whiteout("gone"), opaque("d"));
 * ```
 *
 * @module
 */
import { type TarEntry, tarEntry, type TarType } from "../../../lib/archive/tar.ts";
import { TarReader } from "../../../lib/archive/tar_reader.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../../lib/archive/tar_writer.ts";
import { concatenate, fromByteString, toByteString } from "../../../lib/base/bytes.ts";

/** An entry and its data. Names are ByteStrings: one character per byte. */
export interface TestEntry {
  readonly entry: TarEntry;
  readonly content: Uint8Array;
}

type Fields = Partial<TarEntry>;

/** Whole seconds, which every writer preserves. */
const STAMP = 1_500_000_000;

function make(type: TarType, name: string, fields: Fields, content: Uint8Array = new Uint8Array(0)): TestEntry {
  const entry = tarEntry({
    type,
    name: fromByteString(name),
    mtimeSec: STAMP,
    sizeBytes: content.length,
    ...fields,
  });
  return { entry, content };
}

export const file = (name: string, text: string | Uint8Array = "", fields: Fields = {}): TestEntry =>
  make("file", name, fields, typeof text === "string" ? fromByteString(text) : text);
export const dir = (name: string, fields: Fields = {}): TestEntry => make("directory", name, fields);
export const symlink = (name: string, target: string, fields: Fields = {}): TestEntry =>
  make("symlink", name, { linkName: fromByteString(target), ...fields });
export const hardlink = (name: string, target: string, fields: Fields = {}): TestEntry =>
  make("link", name, { linkName: fromByteString(target), ...fields });
export const device = (name: string, type: "char" | "block", devMajor: number, devMinor: number): TestEntry =>
  make(type, name, { devMajor, devMinor, mode: 0o600 });
export const fifo = (name: string): TestEntry => make("fifo", name, {});

export function whiteout(name: string): TestEntry {
  const slash = name.lastIndexOf("/") + 1;
  return file(`${name.slice(0, slash)}.wh.${name.slice(slash)}`);
}

export const opaque = (folder: string): TestEntry => file(folder === "" ? ".wh..wh..opq" : `${folder}/.wh..wh..opq`);

/** Extended attributes as an entry's field. */
export function xattrs(pairs: Record<string, string>): Pick<TarEntry, "xattrs"> {
  return { xattrs: new Map(Object.entries(pairs).map(([key, value]) => [key, fromByteString(value)])) };
}

/** A value of security.capability: cap_net_raw, effective. Source: struct vfs_cap_data version 2, linux/capability.h. */
export const CAPABILITY = "\x01\0\0\x02\0\x20" + "\0".repeat(14);

/** A whole archive, including the end marker. */
export function tarOf(...entries: readonly TestEntry[]): Uint8Array<ArrayBuffer> {
  return concatenate([
    ...entries.flatMap(({ entry, content }) => [encodeTarHeader(entry), content, tarPadding(content.length)]),
    TAR_END,
  ]);
}

/** Names in the order of the archive. */
export function namesOf(archive: Uint8Array): string[] {
  return entriesOf(archive).map(({ name }) => toByteString(name));
}

/** Entries in the order of the archive, without data. */
export function entriesOf(archive: Uint8Array): TarEntry[] {
  const entries: TarEntry[] = [];
  const reader = new TarReader({ entry: (entry) => entries.push(entry), data: () => {}, endEntry: () => {} });
  reader.push(archive);
  reader.finish();
  return entries;
}
