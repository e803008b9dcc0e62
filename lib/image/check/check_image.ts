/**
 * Implements `nydus-gd check`: verifies everything about an image without running it, and reports all defects.
 *
 * ```
 * bootstrap ──► structure, digests (v5) ──► each blob: presence, size, tables ──► every chunk, if requested
 *                                       └─► the tree against its source, if requested
 * ```
 * Findings are defects of the image. A check that cannot be made (for example, a registry is down) is an error.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import type { Backend } from "../../backend/blob_source.ts";
import { throwIfAborted } from "../../base/abort.ts";
import { equalBytes } from "../../base/bytes.ts";
import { hasCode, type NydusGdError } from "../../base/errors.ts";
import { BlobCache } from "../../blob/blob_cache.ts";
import { digest, prepareDigests } from "../../blob/codec/codec.ts";
import { Decoder } from "../../blob/decode/decoder.ts";
import { RangedSource } from "../../blob/fetch/ranged_source.ts";
import type { BlobDescriptor, Bootstrap } from "../../rafs/bootstrap.ts";
import { Budget } from "../../rafs/check/budget.ts";
import { ChunkCheck } from "../../rafs/check/chunk_check.ts";
import { checkDevices } from "../../rafs/check/device_check.ts";
import { type Finding, Findings } from "../../rafs/check/findings.ts";
import { TreeCheck } from "../../rafs/check/tree_check.ts";
import { effectiveBlobId, separateMetaId } from "../../rafs/format/flags.ts";
import { refuseUnsupported } from "../../rafs/format/unsupported.ts";
import { isV5 } from "../../rafs/v5/bootstrap.ts";
import { compareTrees } from "../against/compare_trees.ts";
import type { SourceTree } from "../against/source_tree.ts";
import { findBootstrap, type FoundBootstrap } from "../source/find_bootstrap.ts";
import { MappedBootstrap } from "../mapped_bootstrap.ts";
import { OpenImage } from "../open_image.ts";
import { checkBlob, type CheckedBlob } from "./blob_check.ts";
import { WrongChunks } from "./chunk_names.ts";

/** Chunks of up to this many uncompressed bytes are verified on the calling thread. */
const INLINE_BYTES = 256 * 1024;
const IDLE_MS = 10_000;

/** What to check. */
export interface CheckOptions {
  /** The file to pass to {@link findBootstrap}. */
  readonly source: string;
  /** What it is to the user, for messages. */
  readonly sourceName: string;
  /** The backend of the blobs; undefined: skip them. */
  readonly backend: Backend | undefined;
  /** Whether to fetch and verify every chunk. */
  readonly chunks: boolean;
  /** The source of the image, whose tree should be the same. */
  readonly against: SourceTree | undefined;
  /** Folder for an unpacked bootstrap, for data fetched for the comparison, and for blobs whose servers ignore ranges. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Called with the blob bytes verified so far, and their total. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** The result of a check. */
export interface CheckReport {
  /** Undefined if no bootstrap could be opened. */
  readonly version: 5 | 6 | undefined;
  readonly names: number;
  readonly inodes: number;
  readonly blobs: readonly CheckedBlob[];
  /** Number of all findings; {@link findings} contains only the first ones. */
  readonly count: number;
  readonly findings: readonly Finding[];
  /** What was not checked, and why. */
  readonly remarks: readonly string[];
}

/**
 * Checks an image.
 *
 * @throws {NydusGdError} "not-found", "usage"; "unavailable" and others if the image could not be examined
 */
export async function checkImage(options: CheckOptions): Promise<CheckReport> {
  return await new ImageCheck(options).run();
}

class ImageCheck {
  readonly #findings = new Findings();
  readonly #remarks: string[] = [];
  readonly #blobs: CheckedBlob[] = [];
  #version: 5 | 6 | undefined;
  #counts = { names: 0, inodes: 0 };

  constructor(private readonly options: CheckOptions) {}

  async run(): Promise<CheckReport> {
    const found = await this.#find();
    if (found !== undefined) await this.#check(found);
    const { count, kept } = this.#findings;
    return {
      version: this.#version,
      ...this.#counts,
      blobs: this.#blobs,
      count,
      findings: kept,
      remarks: this.#remarks,
    };
  }

  /** Reports a file without a bootstrap as a finding, like an unreadable bootstrap. */
  async #find(): Promise<FoundBootstrap | undefined> {
    const { source, sourceName, folder } = this.options;
    try {
      return await findBootstrap(source, `${folder}/image.boot`, sourceName);
    } catch (error) {
      if (!hasCode(error, "invalid-image", "corrupt")) throw error;
      this.#findings.report("structure", "bootstrap", error);
      return undefined;
    }
  }

  async #check({ path, container }: FoundBootstrap): Promise<void> {
    const findings = this.#findings;
    using mapped = findings.attempt("structure", "bootstrap", () => MappedBootstrap.open(path, { treeOnly: true })) ??
      null;
    if (mapped === null) return;
    const { tree, mapping } = mapped;
    this.#version = tree.version;
    const blobs = tree.blobs.map((blob) => ({ ...blob, id: effectiveBlobId(blob, container) }));
    const chunks = new ChunkCheck(tree, blobs, findings);
    chunks.checkRecords();
    this.#counts = new TreeCheck(tree, findings, chunks).run();
    chunks.finish();
    if (tree.version === 6) checkDevices(mapping.bytes, tree.blobs, findings);
    await this.#checkDigests(mapped);
    await this.#checkBlobs(tree, container, blobs, chunks);
    if (this.options.against !== undefined) await this.#compare(mapped, container, this.options.against);
  }

  /** Verifies the inode digests of v5; v6 has none. */
  async #checkDigests({ tree }: MappedBootstrap): Promise<void> {
    if (!isV5(tree)) return;
    const findings = this.#findings;
    await prepareDigests();
    const bytes = new Budget(findings, "bytes of digests", tree.byteLength);
    for (let record = 1; record <= tree.recordCount; record++) {
      const found = findings.attempt("digest", `inode ${record}`, () => tree.recordDigest(record));
      if (found === undefined) continue;
      if (!bytes.take(found.input.length)) return;
      if (equalBytes(digest(tree.digester, found.input), found.expected)) continue;
      findings.add("digest", `inode ${record}`, "its digest does not match its content");
    }
  }

  async #checkBlobs(
    tree: Bootstrap,
    container: string | undefined,
    blobs: readonly BlobDescriptor[],
    chunks: ChunkCheck,
  ): Promise<void> {
    const { backend, chunks: verifies, folder, signal, onProgress } = this.options;
    const findings = this.#findings;
    if (tree.blobs.length === 0) return;
    const refusal = refusalOf(tree);
    if (refusal !== undefined) {
      if (verifies) findings.report("blob", "bootstrap", refusal);
      else this.#remarks.push(`blobs were not checked: ${refusal.message}`);
      return;
    }
    if (backend === undefined) {
      this.#remarks.push("blobs were not checked: their location is not given (--blob-dir, --config)");
      return;
    }
    const totalBytes = blobs.reduce((sum, { compressedSize }) => sum + compressedSize, 0);
    let doneBytes = 0;
    const wrong = new WrongChunks(tree, blobs.map(({ id }) => id), findings);
    using decoder = verifies
      ? new Decoder({ workers: availableParallelism(), inlineBytes: INLINE_BYTES, idleMs: IDLE_MS })
      : null;
    for (const blob of blobs) {
      throwIfAborted(signal);
      const metaId = separateMetaId(blob, container);
      await using source = RangedSource.beside(backend.blob(blob.id), folder);
      await using metaSource = metaId === undefined ? null : RangedSource.beside(backend.blob(metaId), folder);
      this.#blobs.push(
        await checkBlob({
          tree,
          blob,
          source,
          metaSource: metaSource ?? source,
          chunks,
          findings,
          decoder: decoder ?? undefined,
          signal,
          onWrongChunk: (chunk, state) => wrong.add(blob.index, chunk, state),
          onProgress: (bytes) => onProgress(doneBytes += bytes, totalBytes),
        }),
      );
    }
    wrong.report();
  }

  async #compare({ path, tree }: MappedBootstrap, container: string | undefined, source: SourceTree): Promise<void> {
    const { backend, folder, signal, onProgress } = this.options;
    const findings = this.#findings;
    try {
      await using cache = BlobCache.open(folder, { keep: false });
      await using image = refusalOf(tree) !== undefined || backend === undefined ? null : OpenImage.open({
        name: "check",
        bootstrap: MappedBootstrap.open(path),
        container,
        backend,
        cache,
      });
      if (image === null) this.#remarks.push("content was not compared with the source: the blobs cannot be read");
      await compareTrees({ tree, image: image ?? undefined, source, findings, signal, onProgress });
    } catch (error) {
      if (!hasCode(error, "invalid-image", "corrupt")) throw error;
      findings.report("source", "bootstrap", error);
    }
  }
}

/** Why the data of an image cannot be read by this program; undefined if it can. */
function refusalOf({ blobs }: Bootstrap): NydusGdError | undefined {
  try {
    refuseUnsupported(blobs);
    return undefined;
  } catch (error) {
    if (!hasCode(error, "unsupported")) throw error;
    return error;
  }
}
