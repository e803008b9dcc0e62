/**
 * Adds the entries of a tar to a {@link SourceTree}: a whole file system, or one of several layers.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { makedev } from "../../../ffi/sys_stat.ts";
import { TYPE_BITS } from "../../archive/node_type.ts";
import type { TarEntry } from "../../archive/tar.ts";
import type { TarVisitor } from "../../archive/tar_reader.ts";
import { AUFS_LINKS, isAufsLink, parseWhiteout } from "../../archive/whiteout.ts";
import { isImageXattr } from "../../archive/xattr_names.ts";
import { type ByteString, fromByteString, toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { entryName } from "../../archive/entry_path.ts";
import { entryParts } from "../tree/path_resolver.ts";
import type { LinkAttributes, SourceTree } from "./source_tree.ts";

const ZEROS = new Uint8Array(64 * 1024);

/** Options of a {@link TarTree}. */
export interface TarTreeOptions {
  /** Whether whiteouts and opaque marks are interpreted. */
  readonly isLayer: boolean;
}

/** Tar visitor that fills a tree. */
export class TarTree implements TarVisitor {
  #entry: TarEntry | undefined;
  #path: ByteString[] = [];
  #digest: Hash | undefined;
  #digested = 0;
  /** Whether there are files that only hard links of AUFS need. */
  #hasLinkFiles = false;

  constructor(private readonly tree: SourceTree, private readonly options: TarTreeOptions) {}

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#path = entryParts(toByteString(entry.name));
    this.#digest = entry.type === "file" ? createHash("sha256") : undefined;
    this.#digested = 0;
  }

  data(piece: Uint8Array, offset: number): void {
    this.#zerosTo(offset);
    this.#digest?.update(piece);
    this.#digested = offset + piece.length;
  }

  endEntry(): void {
    const entry = this.#entry;
    if (entry === undefined) return;
    this.#entry = undefined;
    this.#zerosTo(entry.sizeBytes);
    if (this.options.isLayer && this.#isMark()) return;
    if (entry.type === "link") {
      const target = entryParts(toByteString(entry.linkName));
      if (this.tree.link(this.#path, target, attributesOf(entry))) return;
      const shown = entryName(entry.linkName);
      throw new NydusGdError(
        "invalid-image",
        `Cannot read "${entryName(entry.name)}": there is no "${shown}" to link to`,
      );
    }
    this.tree.put(this.#path, {
      ...attributesOf(entry),
      mode: TYPE_BITS[entry.type] | entry.mode,
      rdev: entry.type === "char" || entry.type === "block" ? makedev(entry.devMajor, entry.devMinor) : 0,
      size: entry.sizeBytes,
      digest: this.#digest?.digest("hex") ?? "",
      target: toByteString(entry.linkName),
    });
  }

  /** To be called once, after the last entry. */
  finish(): void {
    if (!this.#hasLinkFiles) return;
    this.tree.beginLayer();
    this.tree.whiteout([AUFS_LINKS]);
  }

  /** Applies a whiteout or opaque mark. Returns whether the entry is one. */
  #isMark(): boolean {
    const path = this.#path;
    if (isAufsLink(path.join("/"))) {
      this.#hasLinkFiles = true;
      return false;
    }
    const marks = path.map((name) => parseWhiteout(fromByteString(name)));
    const mark = marks.at(-1);
    if (marks.some(({ kind }, i) => kind === "meta" || (kind !== "none" && i < marks.length - 1))) return true;
    if (mark?.kind === "opaque") this.tree.opaque(path.slice(0, -1));
    else if (mark?.kind === "whiteout") this.tree.whiteout([...path.slice(0, -1), toByteString(mark.name)]);
    else return false;
    return true;
  }

  #zerosTo(offset: number): void {
    for (; this.#digested < offset; this.#digested += Math.min(ZEROS.length, offset - this.#digested)) {
      this.#digest?.update(ZEROS.subarray(0, offset - this.#digested));
    }
  }
}

function attributesOf({ mode, uid, gid, mtimeSec: mtime, mtimeNsec, xattrs }: TarEntry): LinkAttributes {
  const shown = [...xattrs].filter(([name]) => isImageXattr(name));
  return { mode, uid, gid, mtime, mtimeNsec, xattrs: new Map(shown.map(([name, value]) => [name, value.slice()])) };
}
