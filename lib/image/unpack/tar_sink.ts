/**
 * A tree as a tar: ustar, with PAX records for what does not fit, as lib/archive writes it.
 *
 * The root is "./", names have no leading slash; further names of a file are hard links to its first. A tar knows no
 * sockets: they are left out, and counted.
 *
 * @module
 */
import { major, minor, S } from "../../../ffi/sys_stat.ts";
import { type ByteString, fromByteString } from "../../base/bytes.ts";
import { NODE_TYPES } from "../../archive/node_type.ts";
import { tarEntry } from "../../archive/tar.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import type { LeftOut, TreeSink, UnpackedEntry } from "./tree_sink.ts";

/** Where the bytes of a tar go. */
export interface TarOutput {
  /** Appends all of `bytes`, which are the caller's again once it has resolved. */
  write(bytes: Uint8Array): Promise<void>;
  /** Nothing follows: the tar is where it belongs when this resolves. */
  finish(): Promise<void>;
  discard(): Promise<void>;
}

/** See the module. */
export class TarSink implements TreeSink {
  readonly leftOut: LeftOut = { xattrs: 0, sockets: 0 };
  #padding: Uint8Array = new Uint8Array(0);
  #left = 0;
  /** First names of files that are not in the tar. */
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
      await this.output.write(encodeTarHeader(tarEntry({ ...common, type: "link", linkName: fromByteString(linkTo) })));
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
