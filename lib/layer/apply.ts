/**
 * Unpacks a layer's tar into an overlay layer.
 *
 * Nothing is ever written outside the layer, whatever the tar holds (apply_tree.ts). As Docker's overlay2 has it: the
 * later of two entries of one name wins, folders are merged, parents that are not named are made with mode 0755,
 * whiteouts and opaque markers become overlayfs's own. Beyond it: a whiteout and a folder of one name in one layer make
 * an opaque folder, an opaque marker in the root is stored on the root (the kernel does not look there: who stacks
 * layers must), the entry "./" sets the root's owner, mode and times, and `trusted.overlay.*` of a tar is not stored.
 *
 * Owner comes before mode (chown clears setuid bits), both before extended attributes (it clears capabilities too), times
 * last; those of folders when everything is there. A hard link adds a name and nothing else.
 *
 * Failure: {@link NydusGdError} "invalid-image" for what the tar says, "io" for what the disk cannot; the folder then
 * holds a part of the layer and is to be removed. Times, owners and devices need root.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { syncfs } from "../../ffi/unistd.ts";
import { TarReader } from "../archive/tar_reader.ts";
import { type AppliedEntries, EntryWriter } from "./apply_entries.ts";
import { ApplyTree } from "./apply_tree.ts";
import { type IdMaps, NO_ID_MAPS, rootOwner } from "./id_maps.ts";

/** What a layer turned out to be. */
export interface AppliedLayer extends AppliedEntries {
  /**
   * "sha256:…" of every byte of the uncompressed stream, those after the archive's end included. Only of what can be a
   * bootstrap layer, whose blobs are found by it: for another layer nobody asks.
   */
  readonly diffId: string | undefined;
}

/**
 * Unpacks a whole tar and makes it durable.
 *
 * @param diffDir an existing empty folder
 * @param idMaps of the containers that the tar is for
 */
export function applyTar(pieces: Iterable<Uint8Array>, diffDir: string, idMaps: IdMaps = NO_ID_MAPS): AppliedLayer {
  using unpacking = new LayerUnpacking(diffDir, idMaps);
  for (const piece of pieces) unpacking.push(piece);
  return unpacking.finish();
}

/** One layer on its way to disk. Dispose it in any case; after an error, do nothing else with it. */
export class LayerUnpacking implements Disposable {
  readonly #tree: ApplyTree;
  readonly #writer: EntryWriter;
  readonly #reader: TarReader;
  #digest: Hash | undefined = createHash("sha256");

  /**
   * @param diffDir an existing empty folder
   * @param idMaps of the containers that the tar is for
   */
  constructor(diffDir: string, idMaps: IdMaps = NO_ID_MAPS) {
    this.#tree = new ApplyTree(diffDir, rootOwner(idMaps));
    this.#writer = new EntryWriter(this.#tree, idMaps);
    this.#reader = new TarReader(this.#writer);
  }

  /** Unpacks the next piece of the stream. */
  push(piece: Uint8Array): void {
    this.#reader.push(piece);
    if (!this.#writer.mayBeBootstrap) this.#digest = undefined;
    this.#digest?.update(piece);
  }

  /** The stream is over: everything is on disk when this returns. */
  finish(): AppliedLayer {
    this.#reader.finish();
    this.#writer.setFolderTimes();
    syncfs(this.#tree.root);
    const digest = this.#digest?.digest("hex");
    return { ...this.#writer.result, diffId: digest === undefined ? undefined : `sha256:${digest}` };
  }

  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]();
    this.#tree[Symbol.dispose]();
  }
}
