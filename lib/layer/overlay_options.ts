/**
 * The options of an overlay mount as text: what each kernel is told, and how a path is written in it.
 *
 * In the option string of mount(2) a comma ends an option and a colon a lower layer; both, and the backslash itself, are
 * escaped by a backslash. Values of fsconfig(2) are taken as they are, up to 255 bytes, but upperdir and workdir still
 * lose backslashes. Source: fs/overlayfs/params.c, Linux 5.10 to 6.18.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";

/** What an overlay is made of. Paths are absolute. */
export interface OverlayStack {
  /** Read-only layers, topmost first; two at least where there is no `upper`. */
  readonly lowers: readonly string[];
  /** The writable layer and its scratch folder on the same file system; absent: the overlay is read-only. */
  readonly upper?: { readonly diff: string; readonly work: string };
  /** SELinux label for every file, Docker's MountLabel; empty: none. Only where SELinux is on. */
  readonly label?: string;
}

/** There while SELinux is on (Documentation/admin-guide/LSM/SELinux.rst); its mount option is unknown elsewhere. */
const SELINUX = "/sys/fs/selinux/enforce";

/**
 * The label to mount with: none where SELinux is off, for the kernel would refuse the mount.
 *
 * @param enforce the file by which SELinux is known
 */
export function effectiveLabel(label: string, enforce = SELINUX): string {
  if (label === "") return "";
  try {
    Deno.statSync(enforce);
    return label;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    logger("layer").debug("SELinux is off, the label is left out", { label });
    return "";
  }
}

/** Longest value of fsconfig(2) in bytes. */
const FSCONFIG_VALUE_MAX = 255;
/** Where the kernel lists the features that it was built with; there once the module is loaded. */
const PARAMETERS = "/sys/module/overlay/parameters";

const encoder = new TextEncoder();

/** A path for the option string of mount(2). */
export function escapeOverlayPath(path: string): string {
  return path.replace(/[\\:,]/g, (special) => `\\${special}`);
}

/** Whether fsconfig(2) takes the path as a value without changing or cutting it. */
export function isPlainOverlayValue(path: string): boolean {
  return !/[\\:,]/.test(path) && encoder.encode(path).length <= FSCONFIG_VALUE_MAX;
}

/** The whole option string for mount(2). `features` are those of {@link overlayFeatures}. */
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
 * Features that must be off whatever the kernel's defaults are, as far as this kernel has them: index would refuse the
 * upperdir of a mount that is still held, redirects and metacopies would make the upperdir no complete diff.
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
