/**
 * Compares what two stacks of layers show.
 *
 * The rules are moby's (`pkg/archive/changes.go`, 27.5): a file is modified if type, mode, owner, device, size, time or
 * capability differ; a folder if mode, owner or capability differ, or if anything in it changed. Names below a removed
 * or newly typed name are not listed, nor is the root. Content is not read. Parts that both stacks take from the same
 * layers are skipped, so the cost of comparing a container with its image depends on what the container wrote.
 *
 * @module
 */
import { S, type Stat } from "../../../ffi/sys_stat.ts";
import { type ByteString, equalBytes, fromByteString } from "../../base/bytes.ts";
import type { IdMaps } from "../userns/id_maps.ts";
import {
  childFolder,
  childPath,
  ifPresent,
  OpenStackFolder,
  type StackChild,
  type StackFolder,
  stackRoot,
} from "./changes_view.ts";

/** Kinds of change, as numbered by Docker's API. */
export const CHANGE_KIND = { modify: 0, add: 1, delete: 2 } as const;

/** One line of `docker diff`. */
export interface Change {
  /** Absolute: "/etc/hosts". Bytes that are not UTF-8 become U+FFFD. */
  readonly path: string;
  readonly kind: typeof CHANGE_KIND[keyof typeof CHANGE_KIND];
}

/** Two stacks of layers: absolute paths of `diff` folders (or a mounted image), topmost first. */
export interface StackPair {
  readonly layers: readonly string[];
  /** The stack that `layers` is compared with; empty: with nothing. */
  readonly below: readonly string[];
  /** Id maps of the containers that a tar is for; absent: ids are the host's. */
  readonly idMaps?: IdMaps;
}

/** A name that differs, or a folder that contains one. */
export interface Difference {
  readonly name: ByteString;
  readonly kind: keyof typeof CHANGE_KIND;
  /** What the upper stack has there; undefined if deleted. */
  readonly child: StackChild | undefined;
  /** In byte order of names. */
  readonly inside: readonly Difference[];
}

/**
 * The differences of a pair, in byte order of names.
 *
 * @param how "stat": by the rules above. "origin": whatever comes from another layer counts as modified, even if it
 * looks the same. A tar needs that, because a file can change and keep size and time.
 */
export function compareStacks({ layers, below }: StackPair, how: "stat" | "origin"): Difference[] {
  const upper = stackRoot(layers);
  const lower = stackRoot(below);
  return upper === undefined ? [] : compareFolders(upper, lower, how);
}

/** The differences as printed by `docker diff`: folders before their contents. */
export function stackChanges(pair: StackPair): Change[] {
  const changes: Change[] = [];
  const decoder = new TextDecoder();
  const tell = (differences: readonly Difference[], folder: ByteString) => {
    for (const { name, kind, inside } of differences) {
      const path = childPath(folder, name);
      changes.push({ path: `/${decoder.decode(fromByteString(path))}`, kind: CHANGE_KIND[kind] });
      tell(inside, path);
    }
  };
  tell(compareStacks(pair, "stat"), "");
  return changes;
}

function compareFolders(upper: StackFolder, lower: StackFolder | undefined, how: "stat" | "origin"): Difference[] {
  const shallow = ifPresent(() => compareNames(upper, lower, how)) ?? [];
  const differences: Difference[] = [];
  for (const { name, kind, child, old } of shallow) {
    const inside = child?.isFolder
      ? compareFolders(
        childFolder(upper, child),
        old?.isFolder && lower !== undefined ? childFolder(lower, old) : undefined,
        how,
      )
      : [];
    const reported = kind ?? (inside.length > 0 ? "modify" : undefined);
    if (reported !== undefined) differences.push({ name, kind: reported, child, inside });
  }
  return differences;
}

interface NameDifference {
  readonly name: ByteString;
  /** Undefined: a folder that is unchanged itself and whose contents are compared. */
  readonly kind: Difference["kind"] | undefined;
  readonly child: StackChild | undefined;
  readonly old: StackChild | undefined;
}

/** Compares two folders name by name; their descriptors are closed before descending. */
function compareNames(
  upper: StackFolder,
  lower: StackFolder | undefined,
  how: "stat" | "origin",
): NameDifference[] {
  using upperFolder = new OpenStackFolder(upper);
  using lowerFolder = lower === undefined ? undefined : new OpenStackFolder(lower);
  const children = upperFolder.children();
  const olds = lowerFolder?.children() ?? new Map<ByteString, StackChild>();
  const found: NameDifference[] = [];
  for (const [name, child] of children) {
    const old = olds.get(name);
    if (old === undefined || lowerFolder === undefined) {
      found.push({ name, kind: "add", child, old });
    } else if (!sameLayers(child, old)) {
      const differs = child.isFolder !== old.isFolder ||
        (how === "origin" ? child.layers[0] !== old.layers[0] : statsDiffer(upperFolder, child, lowerFolder, old));
      if (differs || child.isFolder) found.push({ name, kind: differs ? "modify" : undefined, child, old });
    }
  }
  for (const [name, old] of olds) if (!children.has(name)) found.push({ name, kind: "delete", child: undefined, old });
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

function sameLayers(a: StackChild, b: StackChild): boolean {
  return a.isFolder === b.isFolder && a.layers.length === b.layers.length &&
    a.layers.every((layer, i) => layer === b.layers[i]);
}

function statsDiffer(upper: OpenStackFolder, child: StackChild, lower: OpenStackFolder, old: StackChild): boolean {
  const a = upper.stat(child);
  const b = lower.stat(old);
  if (a === undefined || b === undefined) return false;
  if (a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || a.rdev !== b.rdev) return true;
  if ((a.mode & S.IFMT) !== S.IFDIR && (a.size !== b.size || !sameTime(a, b))) return true;
  if ((a.mode & S.IFMT) === S.IFLNK) return false;
  return !equalBytes(upper.capability(child), lower.capability(old));
}

/**
 * Compares times. A time without nanoseconds may have been truncated by a tar, so it equals any time within its second.
 */
function sameTime(a: Stat, b: Stat): boolean {
  if (a.mtimeSec !== b.mtimeSec) return false;
  return a.mtimeNsec === b.mtimeNsec || a.mtimeNsec === 0 || b.mtimeNsec === 0;
}
