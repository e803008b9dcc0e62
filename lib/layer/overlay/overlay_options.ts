/**
 * Options of an overlay mount: features per kernel, and escaping of paths.
 *
 * In the option string of mount(2), a comma ends an option and a colon a lower layer; both, and the backslash, are
 * escaped by a backslash. Values of fsconfig(2) are taken literally, up to 255 bytes, but upperdir and workdir still
 * lose backslashes. Source: fs/overlayfs/params.c, Linux 5.10 to 6.18.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";

/** Parts of an overlay. Paths are absolute. */
export interface OverlayStack {
  /** Read-only layers, topmost first; at least two without `upper`. */
  readonly lowers: readonly string[];
  /** The writable layer and its work folder on the same file system; absent: the overlay is read-only. */
  readonly upper?: { readonly diff: string; readonly work: string };
  /** SELinux label for all files, Docker's MountLabel; empty for none. Used only with SELinux enabled. */
  readonly label?: string;
}

/** Exists while SELinux is on (Documentation/admin-guide/LSM/SELinux.rst); otherwise its mount option is unknown. */
const SELINUX = "/sys/fs/selinux/enforce";

/**
 * The label to mount with; empty if SELinux is off, because the kernel would refuse the mount.
 *
 * @param enforce the file that indicates SELinux
 */
export function effectiveLabel(label: string, enforce = SELINUX): string {
  if (label === "") return "";
  try {
    Deno.statSync(enforce);
    return label;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    logger("layer").debug("SELinux is off, the label is omitted", { label });
    return "";
  }
}

/** Maximum length of a value of fsconfig(2) in bytes. */
const FSCONFIG_VALUE_MAX = 255;
/** Lists the kernel's overlay features; exists once the module is loaded. */
const PARAMETERS = "/sys/module/overlay/parameters";

const encoder = new TextEncoder();

/** Escapes a path for the option string of mount(2). */
export function escapeOverlayPath(path: string): string {
  return path.replace(/[\\:,]/g, (special) => `\\${special}`);
}

/** Whether fsconfig(2) takes the path literally and in full. */
export function isPlainOverlayValue(path: string): boolean {
  return !/[\\:,]/.test(path) && encoder.encode(path).length <= FSCONFIG_VALUE_MAX;
}

/** The option string for mount(2). `features` come from {@link overlayFeatures}. */
export function overlayOptions(stack: OverlayStack, features: readonly [string, string][]): string {
  const options = features.map(([key, value]) => `${key}=${value}`);
  options.push(`lowerdir=${stack.lowers.map(escapeOverlayPath).join(":")}`);
  if (stack.upper !== undefined) {
    options.push(`upperdir=${escapeOverlayPath(stack.upper.diff)}`, `workdir=${escapeOverlayPath(stack.upper.work)}`);
  }
  if (stack.label) options.push(`context="${stack.label.replaceAll('"', "")}"`);
  return options.join(",");
}

/** Bytes of an option string. */
export function byteLength(options: string): number {
  return encoder.encode(options).length;
}

let known: [string, string][] | undefined;

/**
 * Features to switch off, as far as this kernel has them. index would refuse the upperdir of a mount that is still
 * held; with redirects and metacopies, the upperdir would not be a complete diff.
 */
export function overlayFeatures(): readonly [string, string][] {
  if (known !== undefined) return known;
  const present = new Set<string>();
  try {
    for (const entry of Deno.readDirSync(PARAMETERS)) present.add(entry.name);
  } catch (error) {
    logger("layer").debug("overlay features are not listed", { reason: messageOf(error) });
    return [];
  }
  const wanted: [string, string][] = [["index", "off"], ["metacopy", "off"], ["redirect_dir", "nofollow"]];
  known = wanted.filter(([name]) => present.has(name));
  return known;
}
