/**
 * Types of inodes, by tar's names and by the type bits of st_mode. Source: linux/stat.h 6.18.
 *
 * @module
 */
import type { TarType } from "./tar.ts";

/** Type of an entry that has its own inode, i.e. is not a hard link. */
export type NodeType = Exclude<TarType, "link">;

/** Type bits of st_mode by type. */
export const TYPE_BITS: Readonly<Record<NodeType, number>> = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
};

/** Types by their type bits, without sockets, which tar cannot represent. */
export const NODE_TYPES: Readonly<Record<number, NodeType>> = Object.fromEntries(
  Object.entries(TYPE_BITS).map(([type, bits]) => [bits, type as NodeType]),
);
