/**
 * An OCI layout as the target of a conversion: created if missing; other images in it are kept.
 *
 * Files appear under their names only when complete. `index.json` is replaced last. Several conversions may write to
 * one layout: each holds a shared lock on the folder for temporary files. The last one removes that folder. What killed
 * processes left in it is removed before that by the next one that finds itself alone.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { isErrno } from "../../../../ffi/errno.ts";
import { AT } from "../../../../ffi/fcntl.ts";
import { LOCK, tryFlock } from "../../../../ffi/sys_file.ts";
import { unlinkat } from "../../../../ffi/unistd.ts";
import { LocalFsBackend } from "../../../backend/localfs.ts";
import { writeFailure } from "../../../base/disk_full.ts";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import type { FileLock } from "../../../base/file_lock.ts";
import { isStillAt, lockFolder, removeUnlocked } from "../../../base/folder_lock.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { parseManifestDocument } from "../../../oci/manifest.ts";
import { MEDIA_TYPE } from "../../../oci/media_types.ts";
import { DEFAULT_TAG, isTag } from "../../../oci/reference.ts";
import { descriptorOf, type ImageBlob } from "../../build/image_builder.ts";
import { INDEX_FILE, LAYOUT_FILE, OciLayout, REF_NAME } from "../../source/oci_layout.ts";
import { type ImageContent, layoutContent } from "../source/image_content.ts";
import type { ImageTarget, Put } from "./image_target.ts";

/** Mode of files, before the umask: a layout may be read by others. */
const FILE_MODE = 0o644;

const LAYOUT = `${JSON.stringify({ imageLayoutVersion: "1.0.0" })}\n`;
const SPOOL = ".partial";

/** Names that make up a layout. A killed process may have left it incomplete. */
const OWN_NAMES: ReadonlySet<string> = new Set([INDEX_FILE, LAYOUT_FILE, SPOOL, "blobs"]);

/** Writes a converted image to an OCI layout. */
export class LayoutTarget implements ImageTarget {
  readonly place = undefined;
  readonly blobs: LocalFsBackend;
  /** Referrers by digest: index.json lists them without a name, and readers find them by their subjects. */
  readonly #referrers = new Map<string, ImageBlob>();
  /** Whether the folder did not exist. */
  #isNew = false;
  /** Shared lock on the spool folder while it may contain temporary files. */
  #use: FileLock | undefined;

  protected constructor(protected readonly dir: string, private readonly tag: string) {
    this.blobs = LocalFsBackend.inFolder(this.#blobDir);
  }

  /**
   * Opens or creates the folder.
   *
   * @param text `oci:DIR[:TAG]`; the part behind the last colon is the tag if it is a valid one
   * @throws {NydusGdError} "exists" if the folder contains something else
   */
  static async open(text: string): Promise<LayoutTarget> {
    const path = text.slice("oci:".length);
    const colon = path.lastIndexOf(":");
    const isTagged = colon > 0 && isTag(path.slice(colon + 1));
    const dir = resolve(isTagged ? path.slice(0, colon) : path);
    const target = new LayoutTarget(dir, isTagged ? path.slice(colon + 1) : DEFAULT_TAG);
    await target.requireOwn();
    await target.prepare();
    return target;
  }

  /** @throws {NydusGdError} "exists" if the folder contains something else */
  protected async requireOwn(): Promise<void> {
    if (!await isForeign(this.dir)) return;
    const state = `the folder ${this.dir} has files and no oci-layout among them`;
    throw new NydusGdError("exists", `Cannot write ${this.description}: ${state}`, {
      hint: "name a folder that is empty or not there",
    });
  }

  /** Creates what is missing. */
  protected async prepare(): Promise<void> {
    this.#isNew = !existsSync(this.dir);
    this.#use = await this.#lockSpool();
    await Deno.mkdir(this.#blobDir, { recursive: true });
    if (await ignore(Deno.errors.NotFound, Deno.stat(this.#layoutFile)) !== undefined) return;
    await this.#replace(this.#layoutFile, new TextEncoder().encode(LAYOUT));
  }

  async #lockSpool(): Promise<FileLock> {
    await removeUnlocked(this.#spoolDir); // left by killed processes
    for (;;) {
      await Deno.mkdir(this.#spoolDir, { recursive: true });
      const lock = lockIfThere(this.#spoolDir);
      if (lock === undefined) continue;
      if (isStillAt(this.#spoolDir, lock)) return lock;
      lock[Symbol.dispose]();
    }
  }

  get description(): string {
    return this.#name;
  }

  async spoolPath(): Promise<string> {
    return await this.#aside(`${crypto.randomUUID()}.part`);
  }

  async has({ digest, size }: Put): Promise<boolean> {
    const info = await ignore(Deno.errors.NotFound, Deno.stat(this.#path(digest)));
    return info?.isFile === true && info.size === size;
  }

  mount(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async putFile({ digest }: Put, path: string): Promise<void> {
    await Deno.chmod(path, FILE_MODE & ~Deno.umask());
    await Deno.rename(path, this.#path(digest));
  }

  async putBytes({ digest, bytes }: ImageBlob): Promise<void> {
    await this.#replace(this.#path(digest), bytes);
  }

  async putManifest(manifest: ImageBlob): Promise<void> {
    await this.putBytes(manifest);
  }

  async putReferrer(manifest: ImageBlob): Promise<void> {
    await this.putBytes(manifest);
    this.#referrers.set(manifest.digest, manifest);
  }

  async present(): Promise<ImageContent | undefined> {
    const content = layoutContent(await OciLayout.open(this.#name));
    const named = await this.#entries();
    return named.some((entry) => entry.annotations?.[REF_NAME] === this.tag) ? content : undefined;
  }

  async publish(manifests: readonly ImageBlob[], root: ImageBlob, _signal: AbortSignal): Promise<void> {
    for (const document of [...manifests, root]) await this.putBytes(document);
    {
      using _turn = lockFolder(this.#blobDir, LOCK.EX);
      await this.#writeIndex(root);
    }
    await this.#leaveSpool();
  }

  async discard(): Promise<void> {
    if (await this.#leaveSpool(() => this.#removeEmpty()) && this.#isNew) removeFolders(this.dir);
  }

  /**
   * @param alone run if nobody else writes to the layout
   * @returns whether nobody else does
   */
  async #leaveSpool(alone = () => {}): Promise<boolean> {
    using use = this.#use;
    this.#use = undefined;
    if (use === undefined || !tryFlock(use.file, LOCK.EX)) return false;
    alone();
    await ignore(Deno.errors.NotFound, Deno.remove(this.#spoolDir, { recursive: true }));
    return true;
  }

  /** Removes the files that make a new folder a layout, if it contains neither a blob nor an image. */
  #removeEmpty(): void {
    if (!this.#isNew || existsSync(join(this.dir, INDEX_FILE))) return;
    if (removeFolders(this.#blobDir, dirname(this.#blobDir))) Deno.removeSync(this.#layoutFile);
  }

  async #writeIndex(root: ImageBlob): Promise<void> {
    const others = (await this.#entries()).filter(({ annotations, digest }) =>
      annotations?.[REF_NAME] !== this.tag && !this.#referrers.has(digest)
    );
    const own = { ...descriptorOf(root), annotations: { [REF_NAME]: this.tag } };
    const referrers = [...this.#referrers.values()].map(descriptorOf);
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [...others, own, ...referrers] };
    await this.#replace(join(this.dir, INDEX_FILE), new TextEncoder().encode(`${JSON.stringify(index)}\n`));
  }

  async #entries(): Promise<readonly Descriptor[]> {
    const bytes = await ignore(Deno.errors.NotFound, Deno.readFile(join(this.dir, INDEX_FILE)));
    const document = bytes && parseManifestDocument(bytes, MEDIA_TYPE.ociIndex);
    return document?.kind === "index" ? document.index.manifests : [];
  }

  async #replace(path: string, bytes: Uint8Array): Promise<void> {
    const aside = await this.#aside(`${crypto.randomUUID()}.part`);
    try {
      await Deno.writeFile(aside, bytes, { mode: FILE_MODE });
    } catch (error) {
      throw writeFailure(error, `write ${this.description}`, aside);
    }
    await Deno.rename(aside, path);
  }

  async #aside(name: string): Promise<string> {
    await Deno.mkdir(this.#spoolDir, { recursive: true });
    return join(this.#spoolDir, name);
  }

  /** On the file system of the blobs, so that complete files only need a rename. */
  get #spoolDir(): string {
    return join(this.dir, SPOOL);
  }

  get #layoutFile(): string {
    return join(this.dir, LAYOUT_FILE);
  }

  #path(digest: string): string {
    return join(this.#blobDir, digest.slice(digest.indexOf(":") + 1));
  }

  get #name(): string {
    return `oci:${this.dir}:${this.tag}`;
  }

  get #blobDir(): string {
    return join(this.dir, "blobs/sha256");
  }
}

/** Waits for a shared lock of a folder; undefined if another process has just removed it. */
function lockIfThere(path: string): FileLock | undefined {
  try {
    return lockFolder(path, LOCK.SH);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Removes folders in order as long as they are empty; returns whether all were. */
function removeFolders(...paths: readonly string[]): boolean {
  for (const path of paths) {
    try {
      unlinkat(AT.FDCWD, path, AT.REMOVEDIR);
    } catch (error) {
      if (isErrno(error, "ENOTEMPTY")) return false;
      throw error;
    }
  }
  return true;
}

/** Whether the folder contains something that is not a layout. */
async function isForeign(dir: string): Promise<boolean> {
  const names = new Set<string>();
  try {
    for await (const { name } of Deno.readDir(dir)) names.add(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (!(error instanceof Deno.errors.NotADirectory)) throw error;
    throw new NydusGdError("exists", `Cannot write oci:${dir}: it is not a folder`, {
      hint: "oci:DIR for a folder, tar:FILE for an archive",
      cause: error,
    });
  }
  return !names.has(LAYOUT_FILE) && names.difference(OWN_NAMES).size > 0;
}
