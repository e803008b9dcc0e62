/**
 * What a tree is unpacked to: a folder, or a tar.
 *
 * @module
 */
import type { ByteString } from "../../base/bytes.ts";
import type { NamedEntry } from "../tree_entries.ts";

/** An entry with what stands beside its attributes. The sink may keep all but `attr`. */
export interface UnpackedEntry extends NamedEntry {
  /** Of a symbolic link, else empty. */
  readonly target: Uint8Array;
  /** By full name. */
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

/** What could not be written down; everything else is as in the image. */
export interface LeftOut {
  /** Extended attributes that the file system does not take. */
  xattrs: number;
  /** Sockets, which a tar cannot hold. */
  sockets: number;
}

/** Takes a tree, a directory before what it holds. After a failure, {@link TreeSink.discard} is all that is called. */
export interface TreeSink {
  /** The next entry; content of a file that has no earlier name follows. */
  entry(entry: UnpackedEntry): void | Promise<void>;
  /** The next bytes of the file, without a gap. The bytes are the caller's. */
  data(bytes: Uint8Array<ArrayBuffer>, offset: number): void | Promise<void>;
  /** Everything was given: it is complete when this resolves. */
  finish(): Promise<void>;
  /** Takes back what was written. */
  discard(): Promise<void>;
  readonly leftOut: Readonly<LeftOut>;
}
