/**
 * Lazy images with local content: a directory stands for the mounted image, bootstraps are text files.
 *
 * To the layer store it is a complete {@link LazyImages}; its calls are recorded for the test.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";
import type { ImageRoot, LazyImages, LazyLayer, LazyMount } from "../../../lib/layer/lazy/lazy_images.ts";

/** Prefix of a bootstrap of {@link FolderImages}, before the path of the image's directory. */
export const FOLDER_BOOTSTRAP = "folder image: ";

/** Lazy images whose trees are directories. */
export class FolderImages implements LazyImages {
  /** Holders by lazy layer. */
  readonly holders = new Map<string, Set<string>>();
  readonly prepared: string[] = [];
  readonly forgotten: string[] = [];
  /** Makes every acquire fail. */
  broken = false;
  /** Every acquire waits for it. */
  registry: Promise<void> = Promise.resolve();
  /** Layers whose images are mounted for {@link hold}. */
  readonly mounted = new Set<string>();

  async verify(bootstrapPath: string): Promise<ImageRoot> {
    const { mode, uid, gid } = await Deno.lstat(await folderOf(bootstrapPath));
    return { mode: (mode ?? 0) & 0o7777, uid: uid ?? 0, gid: gid ?? 0 };
  }

  prepare({ id }: LazyLayer): void {
    this.prepared.push(id);
  }

  async acquire(layer: LazyLayer, holder: string): Promise<LazyMount> {
    await this.registry;
    if (this.broken) throw new NydusGdError("unavailable", `Cannot mount image of layer ${layer.id}: registry is down`);
    const path = await folderOf(layer.bootstrapPath);
    const holders = this.holders.get(layer.id) ?? new Set();
    this.holders.set(layer.id, holders.add(holder));
    return { path, fsDriver: "folder", continued: false, isSuspect: false };
  }

  hold({ id, bootstrapPath }: LazyLayer, holder: string): LazyMount | undefined {
    const isMounted = this.mounted.has(id);
    if (!isMounted) return undefined;
    this.holders.set(id, (this.holders.get(id) ?? new Set()).add(holder));
    return { path: bootstrapPath, fsDriver: "folder", continued: true, isSuspect: false };
  }

  release(layerId: string, holder: string): Promise<void> {
    this.holders.get(layerId)?.delete(holder);
    return Promise.resolve();
  }

  forget(layerId: string): Promise<void> {
    this.forgotten.push(layerId);
    return Promise.resolve();
  }

  describe(layer: LazyLayer): Promise<Record<string, string>> {
    return Promise.resolve({ Kind: "folder image", Bootstrap: layer.bootstrapPath });
  }

  status(): Promise<[string, string][]> {
    return Promise.resolve([["Lazy images", "folders"]]);
  }

  /** Returns the holders of a layer, sorted. */
  heldBy(layerId: string): string[] {
    return [...this.holders.get(layerId) ?? []].sort();
  }
}

async function folderOf(bootstrapPath: string): Promise<string> {
  const text = await Deno.readTextFile(bootstrapPath);
  if (text.startsWith(FOLDER_BOOTSTRAP)) return text.slice(FOLDER_BOOTSTRAP.length);
  throw new NydusGdError("invalid-image", `Cannot read bootstrap "${bootstrapPath}": no folder image`);
}
