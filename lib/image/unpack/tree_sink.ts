/**
 * Interface of unpack destinations.
 *
 * @module
 */
import type { ByteString } from "../../base/bytes.ts";
import type { NamedEntry } from "../tree/tree_entries.ts";

/** A tree entry with symbolic-link target and extended attributes. The sink may keep everything except `attr`. */
export interface UnpackedEntry extends NamedEntry {
  /** Target of a symbolic link; empty for other types. */
  readonly target: Uint8Array;
  /** By full name. */
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** Number of items that could not be written; everything else is as in the image. */
export interface LeftOut {
  /** Extended attributes that the file system rejects. */
  xattrs: number;
  /** Sockets, which a tar cannot represent. */
  sockets: number;
}

/** Receives a tree, each directory before its content. After a failure only {@link TreeSink.discard} is called. */
export interface TreeSink {
  /** Receives the next entry. The content of a regular file without an earlier name follows. */
  entry(entry: UnpackedEntry): void | Promise<void>;
  /** Receives the next contiguous bytes of the file. The caller owns `bytes`. */
  data(bytes: Uint8Array<ArrayBuffer>, offset: number): void | Promise<void>;
  /** Completes the tree once everything has been passed. */
  finish(): Promise<void>;
  /** Removes what was written. */
  discard(): Promise<void>;
  readonly leftOut: Readonly<LeftOut>;
}
