/**
 * Writes a tree as a tar: ustar, with PAX records where necessary.
 *
 * The root is "./", and names have no leading slash. Further names of a file become hard links to its first one. Tars
 * cannot represent sockets; they are skipped and counted.
 *
 * @module
 */
import { major, minor, S } from "../../../ffi/sys_stat.ts";
import { type ByteString, fromByteString } from "../../base/bytes.ts";
import { NODE_TYPES } from "../../archive/node_type.ts";
import { tarEntry } from "../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import type { LeftOut, TreeSink, UnpackedEntry } from "./tree_sink.ts";

/** The destination of a tar. */
export interface TarOutput {
  /** Appends `bytes`, which the caller may reuse once this resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** Completes the tar, which is at its destination once this resolves. */
  finish(): Promise<void>;
  discard(): Promise<void>;
}

/** Writes a tree to a {@link TarOutput}. */
export class TarSink implements TreeSink {
  readonly leftOut: LeftOut = { xattrs: 0, sockets: 0 };
  #padding: Uint8Array = new Uint8Array(0);
  #left = 0;
  /** First names of inodes that are not in the tar. */
  readonly #missing = new Set<ByteString>();

  constructor(private readonly output: TarOutput) {}

  async entry(entry: UnpackedEntry): Promise<void> {
    const { path, linkTo, target, xattrs, attr: { mode, uid, gid, rdev, size, mtime, mtimeNsec } } = entry;
    const type = NODE_TYPES[mode & S.IFMT];
    if (type === undefined || linkTo !== undefined && this.#missing.has(linkTo)) {
      this.leftOut.sockets++;
      this.#missing.add(path);
      return;
    }
    const common = {
      name: fromByteString(path === "" ? "./" : path),
      mode: mode & 0o7777,
      uid,
      gid,
      mtimeSec: mtime,
      mtimeNsec,
    };
    if (linkTo !== undefined) {
      const link = { ...common, type: "link", linkName: fromByteString(linkTo), xattrs } as const; // read as its file's
      await this.output.write(encodeTarHeader(tarEntry(link)));
      return;
    }
    const isDevice = type === "char" || type === "block";
    await this.output.write(encodeTarHeader(tarEntry({
      ...common,
      type,
      linkName: target,
      sizeBytes: type === "file" ? size : 0,
      devMajor: isDevice ? major(rdev) : 0,
      devMinor: isDevice ? minor(rdev) : 0,
      xattrs,
    })));
    this.#left = type === "file" ? size : 0;
    this.#padding = tarPadding(this.#left);
  }

  async data(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.output.write(bytes);
    this.#left -= bytes.length;
    if (this.#left === 0) await this.output.write(this.#padding);
  }

  async finish(): Promise<void> {
    await this.output.write(TAR_END);
    await this.output.finish();
  }

  async discard(): Promise<void> {
    await this.output.discard();
  }
}
