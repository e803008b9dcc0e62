/**
 * For any layers, the merged image matches a simple model: a flat table of paths to which they are applied in order.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { noise } from "../../../../tests/support/image/convert_kit.ts";
import {
  dir,
  file,
  hardlink,
  opaque,
  tarOf,
  type TestEntry,
  whiteout,
} from "../../../../tests/support/archive/tar_builder.ts";
import { toByteString } from "../../../base/bytes.ts";
import { prepareDigests } from "../../../blob/codec/codec.ts";
import { S_IFDIR, S_IFMT, S_IFREG } from "../../../rafs/format/inode_mode.ts";
import { openBootstrap } from "../../../rafs/open.ts";
import { walkTree } from "../../../rafs/walk.ts";
import { INLINE } from "../chunks/compress_pool.ts";
import { buildLayer, fromTar } from "../layer/build_layer.ts";
import { mergeLayers } from "./merge_layers.ts";
import { rafsOptions } from "../format/rafs_options.ts";

/** A change of a layer. Files are told apart by their sizes, folders by their modes. */
type Change =
  | { readonly kind: "file"; readonly path: string; readonly other: string }
  | { readonly kind: "folder"; readonly path: string; readonly mode: number }
  | { readonly kind: "whiteout" | "opaque"; readonly path: string };

const path = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant("file"), path, other: path }),
  fc.record({ kind: fc.constant("folder"), path, mode: fc.integer({ min: 0o700, max: 0o777 }) }),
  fc.record({ kind: fc.constantFrom("whiteout", "opaque"), path }),
);

/** A folder by its mode, or a file by its size. */
interface Item {
  readonly mode?: number;
  readonly size?: number;
}

const parentOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

/** A layer as a tar, and what it does to a model. */
class Layer {
  readonly entries: TestEntry[] = [];
  readonly #items = new Map<string, Item>();
  /** Folders of which it does not say more than that they are there. */
  readonly #implied = new Set<string>();
  readonly #hidden: ((tree: Map<string, Item>) => void)[] = [];

  constructor(changes: readonly Change[], private nextSize: number) {
    for (const change of changes) this.#add(change);
  }

  /** Size of the next file. */
  get size(): number {
    return this.nextSize;
  }

  applyTo(tree: Map<string, Item>): void {
    for (const hide of this.#hidden) hide(tree);
    for (const path of [...this.#implied, ...this.#items.keys()].sort()) { // folders before their contents
      const item = this.#items.get(path), isFolder = tree.get(path)?.mode !== undefined;
      if (!isFolder || item?.mode === undefined && item !== undefined) replace(tree, path, item ?? { mode: 0o755 });
      else if (item !== undefined) tree.set(path, item);
    }
  }

  #add(change: Change): void {
    const { path } = change;
    if (change.kind !== "whiteout" && this.#items.has(path) || !this.#makeFolder(parentOf(path))) return;
    if (change.kind === "whiteout") {
      this.entries.push(whiteout(path));
      this.#hidden.push((tree) => replace(tree, path, undefined));
    } else if (change.kind === "opaque") {
      if (!this.#makeFolder(path)) return;
      this.entries.push(opaque(path));
      this.#hidden.push((tree) => tree.get(path)?.mode !== undefined && removeBelow(tree, path));
    } else if (change.kind === "folder") {
      this.entries.push(dir(path, { mode: change.mode }));
      this.#implied.delete(path);
      this.#items.set(path, { mode: change.mode });
    } else if (change.kind === "file" && !this.#implied.has(path)) {
      const known = this.#items.get(change.other);
      const size = known?.size ?? this.nextSize++;
      this.entries.push(known?.size === undefined ? file(path, noise(size, size)) : hardlink(path, change.other));
      this.#items.set(path, { size });
    }
  }

  #makeFolder(path: string): boolean {
    if (path === "") return true;
    if (!this.#makeFolder(parentOf(path)) || this.#items.get(path)?.size !== undefined) return false;
    if (!this.#items.has(path)) this.#implied.add(path);
    return true;
  }
}

function removeBelow(tree: Map<string, Item>, path: string): void {
  for (const below of [...tree.keys()]) if (below.startsWith(`${path}/`)) tree.delete(below);
}

function replace(tree: Map<string, Item>, path: string, item: Item | undefined): void {
  removeBelow(tree, path);
  if (item === undefined) tree.delete(path);
  else tree.set(path, item);
}

for (const fsVersion of [5, 6] as const) {
  const rafs = rafsOptions({ fsVersion, chunkSize: 4096, compressor: "none" });

  const mergeable = async (layer: Layer, k: number) => {
    const entries = fromTar([tarOf(...layer.entries)]);
    const built = await buildLayer(entries, { rafs, compressor: INLINE, write: () => {} });
    return { tree: openBootstrap(built.bootstrap), blobId: `${k}`.repeat(64), what: `layer ${k}`, hasWhiteouts: true };
  };

  Deno.test(`RAFS v${fsVersion}: any layers yield the tree that they describe in order, and only its chunks`, async () => {
    await prepareDigests(rafs.digester);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(change, { maxLength: 12 }), { minLength: 1, maxLength: 4 }), async (all) => {
        const expected = new Map<string, Item>();
        const layers = [];
        /** Layer by size of a file. */
        const origins: number[] = [];
        for (const [k, changes] of all.entries()) {
          const layer = new Layer(changes, Math.max(1, origins.length));
          while (origins.length < layer.size) origins.push(k);
          layer.applyTo(expected);
          layers.push(await mergeable(layer, k));
        }
        const tree = openBootstrap(mergeLayers(layers, rafs).bootstrap.whole());
        const shown = Array.from(walkTree(tree), ({ path, attr: { mode, size, nlink } }) => {
          const at = toByteString(path).slice(1);
          return (mode & S_IFMT) === S_IFDIR
            ? [at, { mode: mode & 0o7777 }]
            : [at, { size, nlink, isFile: (mode & S_IFMT) === S_IFREG }];
        }).filter(([at]) => at !== "").sort();
        const namesOf = (size: number) => [...expected.values()].filter((item) => item.size === size).length;
        const wanted = [...expected].map(([at, item]) => [
          at,
          item.size === undefined ? item : { size: item.size, nlink: namesOf(item.size), isFile: true },
        ]).sort();
        assert.deepEqual(shown, wanted);
        const sizes = [...new Set([...expected.values()].flatMap(({ size }) => size ?? []))].sort((a, b) => a - b);
        assert.deepEqual(
          Array.from(tree.chunkRecords(), ({ uncompressedSize }) => uncompressedSize).sort((a, b) => a - b),
          sizes,
        );
        assert.deepEqual(tree.blobs.map(({ id }) => Number(id[0])), [...new Set(sizes.map((size) => origins[size]))]);
      }),
      { numRuns: 150 },
    );
  });
}
