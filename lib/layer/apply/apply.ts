/**
 * Unpacks a layer's tar into an overlay layer.
 *
 * Nothing is ever written outside the layer, whatever the tar contains (apply_tree.ts). As in Docker's overlay2, the
 * later of two entries of the same name wins, folders are merged, missing parents are created with mode 0755, and
 * whiteouts and opaque markers become overlayfs's own. In addition, a whiteout and a folder of the same name in one
 * layer make an opaque folder; an opaque marker in the root is stored on the root (the kernel ignores it there, so code
 * that stacks layers must handle it); and `trusted.overlay.*` of a tar is not stored.
 *
 * Owner is set before mode (chown clears setuid bits), both before extended attributes (chown clears capabilities,
 * too), times last, and those of folders after all entries. A hard link only adds a name.
 *
 * Failure: {@link NydusGdError} "invalid-image" for errors in the tar, "io" for errors of the disk. The folder then
 * holds part of the layer and should be removed. Times, owners and devices need root.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { syncfs } from "../../../ffi/unistd.ts";
import { layerReader } from "../../archive/layer_reader.ts";
import type { TarReader } from "../../archive/tar_reader.ts";
import { type AppliedEntries, EntryWriter } from "./apply_entries.ts";
import { ApplyTree } from "./apply_tree.ts";
import { type IdMaps, rootOwner } from "../userns/id_maps.ts";

/** Properties of an unpacked layer. */
export interface AppliedLayer extends AppliedEntries {
  /**
   * "sha256:…" of the whole uncompressed stream, including anything after the end of the archive. Computed only for
   * possible bootstrap layers, whose blobs are found by it.
   */
  readonly diffId: string | undefined;
}

/** A layer being unpacked. Must be disposed; after an error it cannot be used any further. */
export class LayerUnpacking implements Disposable {
  readonly #tree: ApplyTree;
  readonly #writer: EntryWriter;
  readonly #reader: TarReader;
  #digest: Hash | undefined = createHash("sha256");

  /**
   * @param diffDir an existing empty folder
   * @param idMaps of the containers that the tar is for
   */
  constructor(diffDir: string, idMaps: IdMaps) {
    this.#tree = new ApplyTree(diffDir, rootOwner(idMaps));
    this.#writer = new EntryWriter(this.#tree, idMaps);
    this.#reader = layerReader(this.#writer);
  }

  /** Unpacks the next piece of the stream. */
  push(piece: Uint8Array): void {
    this.#reader.push(piece);
    if (!this.#writer.mayBeBootstrap) this.#digest = undefined;
    this.#digest?.update(piece);
  }

  /** Ends the stream: everything is on disk when this returns. */
  finish(): AppliedLayer {
    this.#reader.finish();
    this.#writer.finish();
    syncfs(this.#tree.root);
    const digest = this.#digest?.digest("hex");
    return { ...this.#writer.result, diffId: digest === undefined ? undefined : `sha256:${digest}` };
  }

  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]();
    this.#tree[Symbol.dispose]();
  }
}
