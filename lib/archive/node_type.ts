/**
 * The types of what has an inode, by tar's names and by st_mode's type bits. Source: linux/stat.h 6.18.
 *
 * @module
 */
import type { TarType } from "./tar.ts";

/** A type of entry that is no further name of another one. */
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

/** Types by their type bits; a socket, which no tar has, is not among them. */
export const NODE_TYPES: Readonly<Record<number, NodeType>> = Object.fromEntries(
  Object.entries(TYPE_BITS).map(([type, bits]) => [bits, type as NodeType]),
);
