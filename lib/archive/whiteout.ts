/**
 * Whiteouts: how a layer hides names of the layers below, in OCI images (AUFS's convention) and in overlayfs.
 *
 * | in a layer's tar | in an overlay upper |
 * |---|---|
 * | `dir/.wh.name` | character device 0:0 `dir/name` |
 * | `dir/.wh..wh..opq` | `trusted.overlay.opaque` = "y" on `dir` |
 * | `.wh..wh.plnk/…` | nothing; files there are what AUFS's hard links in the same tar lead to |
 * | `.wh..wh.aufs` and other `.wh..wh.*` | nothing: AUFS's own bookkeeping |
 *
 * Sources: OCI image-spec v1.1 `layer.md`; Documentation/filesystems/overlayfs.rst of Linux 6.18. The kernel ignores
 * the opaque mark on the root of a layer; code that stacks layers has to handle it.
 *
 * @module
 */
import { type ByteString, fromByteString } from "../base/bytes.ts";

/** Name of the entry that makes its folder opaque. */
export const OPAQUE_MARKER = fromByteString(".wh..wh..opq");
/** AUFS's folder in the root of a layer, with the files that have several names. */
export const AUFS_LINKS = ".wh..wh.plnk";
/** Extended attribute of an opaque folder in an overlay layer, with value {@link OVERLAY_OPAQUE_VALUE}. */
export const OVERLAY_OPAQUE = "trusted.overlay.opaque";
/**
 * "y". The kernel's "x" (6.7 and later) marks a folder that may contain whiteouts of another form, not an opaque one.
 */
export const OVERLAY_OPAQUE_VALUE = fromByteString("y");
/** Prefix of attributes that belong to overlayfs: never taken from a tar, never written to one. */
export const OVERLAY_XATTR_PREFIX = "trusted.overlay.";

const PREFIX = fromByteString(".wh.");
const META_PREFIX = fromByteString(".wh..wh.");

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;

/** Meaning of the last component of a tar name. */
export type WhiteoutName =
  | { readonly kind: "none" }
  | { readonly kind: "opaque" }
  | { readonly kind: "meta" }
  /** `name` is hidden. Callers must refuse empty, "." and "..". */
  | { readonly kind: "whiteout"; readonly name: Uint8Array };

const NONE: WhiteoutName = { kind: "none" };
const OPAQUE: WhiteoutName = { kind: "opaque" };
const META: WhiteoutName = { kind: "meta" };

/** Parses one component of a name in a layer's tar. */
export function parseWhiteout(component: Uint8Array): WhiteoutName {
  if (component[0] !== 0x2e || !startsWith(component, PREFIX)) return NONE;
  if (!startsWith(component, META_PREFIX)) return { kind: "whiteout", name: component.subarray(PREFIX.length) };
  return component.length === OPAQUE_MARKER.length && startsWith(component, OPAQUE_MARKER) ? OPAQUE : META;
}

/** Whether a path in a layer is {@link AUFS_LINKS} or below: to be dropped once all hard links are made. */
export function isAufsLink(path: ByteString): boolean {
  return path === AUFS_LINKS || path.startsWith(`${AUFS_LINKS}/`);
}

/** Name of the entry that hides `name`. */
export function whiteoutName(name: Uint8Array): Uint8Array {
  const out = new Uint8Array(PREFIX.length + name.length);
  out.set(PREFIX);
  out.set(name, PREFIX.length);
  return out;
}

/** Whether a file of an overlay layer is a whiteout. */
export function isOverlayWhiteout(mode: number, rdevMajor: number, rdevMinor: number): boolean {
  return (mode & S_IFMT) === S_IFCHR && rdevMajor === 0 && rdevMinor === 0;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}
