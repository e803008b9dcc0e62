/**
 * Compares an image with its source: names, types, modes, owners, times, extended attributes, links and content.
 *
 * Skips what is unspecified: attributes of a folder that the source names only as part of a path, owners of an image
 * that stores none, and a root mtime of 0, which builders write.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { S } from "../../../ffi/sys_stat.ts";
import { ACL_ACCESS, aclOfMode } from "../../archive/posix_acl.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { type ByteString, equalBytes, fromByteString } from "../../base/bytes.ts";
import { hasCode, messageOf } from "../../base/errors.ts";
import type { Seconds } from "../../base/seconds.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import type { Findings } from "../../rafs/check/findings.ts";
import { isDevice } from "../../rafs/format/inode_mode.ts";
import { pathText } from "../../rafs/path_text.ts";
import { fileContents, type FilePiece, type FileRef, type ReadableImage } from "../tree/file_contents.ts";
import { TYPE_NAMES } from "../inspect/entry_facts.ts";
import { namedEntries, type NamedEntry, xattrsOf } from "../tree/tree_entries.ts";
import type { SourceInode, SourceNode, SourceTree } from "./source_tree.ts";

/** A file whose content has to be compared. */
interface Wanted extends FileRef {
  readonly path: ByteString;
  readonly digest: string;
}

/** Options of {@link compareTrees}. */
export interface CompareOptions {
  readonly tree: Bootstrap;
  /** Undefined: the data is not readable, and content is not compared. */
  readonly image: ReadableImage | undefined;
  readonly source: SourceTree;
  readonly findings: Findings;
  readonly signal: AbortSignal;
  /** Called with the uncompressed bytes compared so far, and their total. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** Returns the printable form of a name. */
function nameText(path: ByteString): string {
  return pathText(fromByteString(`/${path}`));
}

/**
 * Compares the two trees.
 *
 * @throws {RafsError} if the image's tree is damaged; errors of a backend that does not respond
 */
export async function compareTrees(options: CompareOptions): Promise<void> {
  const wanted = new Comparison(options).run();
  if (options.image !== undefined) await compareContent(options.image, wanted, options);
}

class Comparison {
  readonly #seen = new Set<SourceNode>();
  /** The image's first name of each source inode. */
  readonly #firstNames = new Map<SourceInode, ByteString>();
  readonly #wanted: Wanted[] = [];
  #additionalFolder: ByteString | undefined;

  constructor(private readonly options: CompareOptions) {}

  run(): Wanted[] {
    const { tree, source } = this.options;
    for (const entry of namedEntries(tree)) this.#compare(entry);
    this.#findMissing(source.root, "");
    return this.#wanted;
  }

  #compare(entry: NamedEntry): void {
    const { path } = entry;
    const node = this.options.source.find(path === "" ? [] : path.split("/"));
    if (node === undefined) return this.#additional(entry);
    this.#seen.add(node);
    const { inode } = node;
    const type = entry.attr.mode & S.IFMT;
    const expected = inode === undefined ? S.IFDIR : inode.mode & S.IFMT;
    if (type !== expected) {
      return this.#differs(path, `it is a ${TYPE_NAMES[type]}, in the source a ${TYPE_NAMES[expected]}`);
    }
    if (inode === undefined) return;
    this.#compareLinks(entry, inode);
    if (entry.linkTo === undefined) this.#compareInode(entry, inode);
  }

  /** Reports a folder that the source lacks once, without its content. */
  #additional({ path, attr }: NamedEntry): void {
    if (this.#additionalFolder !== undefined && path.startsWith(`${this.#additionalFolder}/`)) return;
    if ((attr.mode & S.IFMT) === S.IFDIR) this.#additionalFolder = path;
    this.#differs(path, "the source does not have it");
  }

  #compareLinks({ path, linkTo, attr }: NamedEntry, inode: SourceInode): void {
    const first = this.#firstNames.get(inode);
    if (first === undefined) this.#firstNames.set(inode, path);
    if (linkTo === first) return;
    if (linkTo !== undefined) {
      return this.#differs(path, `it is one file with ${nameText(linkTo)}, in the source it is not`);
    }
    // most builders of RAFS v5 have hard links to regular files only
    if (this.options.tree.version === 5 && (attr.mode & S.IFMT) !== S.IFREG) return;
    this.#differs(path, `in the source it is one file with ${nameText(first ?? "")}`);
  }

  #compareInode({ path, ino, attr }: NamedEntry, inode: SourceInode): void {
    const { tree } = this.options;
    const compare = (what: string, actual: string | number, expected: string | number) => {
      if (actual !== expected) this.#differs(path, `${what} is ${actual}, in the source ${expected}`);
    };
    const octal = (mode: number) => `0${(mode & 0o7777).toString(8)}`;
    const time = (sec: Seconds, nsec: number) => `${sec}.${String(nsec).padStart(9, "0")}`;
    const isRootWithoutTime = path === "" && attr.mtime === 0 && attr.mtimeNsec === 0;
    const type = attr.mode & S.IFMT;
    if (type !== S.IFLNK) compare("mode", octal(attr.mode), octal(inode.mode));
    if (tree.explicitUidGid) compare("owner", `${attr.uid}:${attr.gid}`, `${inode.uid}:${inode.gid}`);
    if (!isRootWithoutTime) compare("mtime", time(attr.mtime, attr.mtimeNsec), time(inode.mtime, inode.mtimeNsec));
    if (isDevice(attr.mode)) compare("device number", attr.rdev, inode.rdev);
    if (type === S.IFLNK) {
      compare("target", pathText(tree.readlink(ino)), pathText(fromByteString(inode.target)));
    }
    this.#compareXattrs(path, ino, inode);
    if (type !== S.IFREG) return;
    compare("size", attr.size, inode.size);
    if (attr.size === inode.size) this.#wanted.push({ path, ino, size: attr.size, digest: inode.digest });
  }

  #compareXattrs(path: ByteString, ino: number, { mode, xattrs }: SourceInode): void {
    const found = xattrsOf(this.options.tree, ino);
    for (const name of new Set([...found.keys(), ...xattrs.keys()])) {
      const actual = found.get(name), given = xattrs.get(name);
      const expected = name === ACL_ACCESS && given !== undefined ? aclOfMode(given, mode) : given;
      const shown = `attribute ${pathText(fromByteString(name))}`;
      if (actual === undefined) this.#differs(path, `${shown} is missing`);
      else if (expected === undefined) this.#differs(path, `the source has no ${shown}`);
      else if (!equalBytes(actual, expected)) this.#differs(path, `${shown} has another value in the source`);
    }
  }

  /** Reports a missing folder once, without its content. */
  #findMissing(node: SourceNode, path: ByteString): void {
    for (const [name, child] of node.children ?? []) {
      const childPath = path === "" ? name : `${path}/${name}`;
      if (this.#seen.has(child)) this.#findMissing(child, childPath);
      else this.#differs(childPath, "it is missing");
    }
  }

  #differs(path: ByteString, state: string): void {
    this.options.findings.add("source", nameText(path), state);
  }
}

async function compareContent(
  image: ReadableImage,
  wanted: readonly Wanted[],
  { findings, signal, onProgress }: CompareOptions,
): Promise<void> {
  const totalBytes = wanted.reduce((sum, { size }) => sum + size, 0);
  let doneBytes = 0;
  let contents = fileContents(image, wanted, signal);
  for (const [index, file] of wanted.entries()) {
    throwIfAborted(signal);
    const { path, size, digest } = file;
    try {
      const actual = await nextDigest(contents, file);
      if (actual !== digest) findings.add("source", nameText(path), `sha256 is ${actual}, in the source ${digest}`);
    } catch (error) {
      if (!hasCode(error, "corrupt", "invalid-image", "io", "not-found")) throw error;
      findings.add("source", nameText(path), `its content cannot be read: ${messageOf(error)}`);
      contents = fileContents(image, wanted.slice(index + 1), signal);
    }
    onProgress(doneBytes += size, totalBytes);
  }
}

/** Returns the SHA-256 of the file, whose pieces are next. */
async function nextDigest(
  contents: AsyncIterator<FilePiece, unknown>,
  { path, ino, size }: Wanted,
): Promise<string> {
  const hash = createHash("sha256");
  for (let offset = 0; offset < size;) {
    const { value, done } = await contents.next();
    if (done || value.ino !== ino) throw new Error(`Cannot compare ${nameText(path)}: its content is out of turn`);
    hash.update(value.bytes);
    offset += value.bytes.length;
  }
  return hash.digest("hex");
}
