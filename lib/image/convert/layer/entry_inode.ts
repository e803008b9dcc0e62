/**
 * Converts a tar entry to an inode. Anything that RAFS cannot represent is refused, naming the entry.
 *
 * As in an unpacked layer, extended attributes that Linux does not have are left out.
 *
 * @module
 */
import { makedev } from "../../../../ffi/sys_stat.ts";
import { type NodeType, TYPE_BITS } from "../../../archive/node_type.ts";
import type { TarEntry } from "../../../archive/tar.ts";
import { isImageXattr } from "../../../archive/xattr_names.ts";
import { type ByteString, fromByteString } from "../../../base/bytes.ts";
import { NydusGdError } from "../../../base/errors.ts";
import { RafsError } from "../../../rafs/bootstrap.ts";
import { LIMIT } from "../../../rafs/format/flags.ts";
import { encodeXattrs } from "../../../rafs/v6/xattr_writer.ts";
import type { PlacedInode } from "./inode_table.ts";
import { showPath } from "./layer_tree.ts";

/** Maximum length of a link target in bytes: a page including its NUL, as in the kernel. */
const MAX_TARGET_BYTES = 4095;

/** Mode of every symbolic link on Linux, regardless of the archive; an unpacked layer shows it, too. */
const SYMLINK_MODE = 0o777;

const XATTR_HINT = "it holds user.*, trusted.*, security.* and POSIX ACLs, names up to 255 bytes, 64 KiB each";

/**
 * The inode of an entry that is not a hard link.
 *
 * @param type the entry's
 * @throws {NydusGdError} "unsupported"
 */
export function inodeOfEntry(
  entry: TarEntry,
  type: NodeType,
  path: readonly ByteString[],
  chunkSize: number,
): PlacedInode {
  const { uid, gid, devMajor, devMinor, linkName, sizeBytes } = entry;
  if (sizeBytes > LIMIT.chunks * chunkSize) {
    throw unstorable(path, `${sizeBytes} bytes exceed ${LIMIT.chunks} chunks`, "--chunk-size larger than this one");
  }
  requireId("uid", uid, path);
  requireId("gid", gid, path);
  if (!(devMajor >= 0 && devMajor < 1 << 12 && devMinor >= 0 && devMinor < 1 << 20)) {
    throw unstorable(path, `device ${devMajor}:${devMinor} exceeds 12:20 bits`);
  }
  if (type === "symlink" && (linkName.length === 0 || linkName.length > MAX_TARGET_BYTES)) {
    throw unstorable(path, `its link target has ${linkName.length} bytes, expected 1 to ${MAX_TARGET_BYTES}`);
  }
  return {
    mode: TYPE_BITS[type] | (type === "symlink" ? SYMLINK_MODE : entry.mode),
    uid,
    gid,
    mtime: entry.mtimeSec,
    mtimeNsec: entry.mtimeNsec,
    rdev: makedev(devMajor, devMinor),
    size: sizeBytes,
    target: type === "symlink" ? linkName.slice() : undefined,
    xattrs: xattrsOf(entry, path),
  };
}

function requireId(what: string, id: number, path: readonly ByteString[]): void {
  if (!(id >= 0 && id <= 0xffff_ffff)) throw unstorable(path, `${what} ${id} is not within 32 bits`);
}

function xattrsOf({ xattrs }: TarEntry, path: readonly ByteString[]): (readonly [Uint8Array, Uint8Array])[] {
  if (xattrs.size === 0) return [];
  const pairs = [...xattrs]
    .filter(([name]) => isImageXattr(name))
    .map(([name, value]) => [fromByteString(name), value] as const);
  for (const [name, value] of pairs) {
    if (isStorable([[name, value]])) continue;
    const shown = JSON.stringify(new TextDecoder().decode(name));
    throw unstorable(path, `RAFS cannot hold its extended attribute ${shown} of ${value.length} bytes`, XATTR_HINT);
  }
  if (!isStorable(pairs)) throw unstorable(path, "RAFS cannot hold that many extended attributes", XATTR_HINT);
  return pairs;
}

function isStorable(pairs: readonly (readonly [Uint8Array, Uint8Array])[]): boolean {
  try {
    encodeXattrs(pairs);
    return true;
  } catch (error) {
    if (error instanceof RafsError) return false;
    throw error;
  }
}

function unstorable(path: readonly ByteString[], state: string, hint?: string): NydusGdError {
  const details = hint === undefined ? {} : { hint };
  return new NydusGdError("unsupported", `Cannot convert "${showPath(path)}": ${state}`, details);
}
