/**
 * Images that clients of nydusd's API mount themselves from the kernel's cache.
 *
 * ```
 * PUT ──► blob_entry.ts ──► OpenImage ──► ImageMounts.offer ──► mount -t erofs -o domain_id=…,fsid=…
 * ```
 * Registrations are persisted for a successor of this process, since the images may be mounted. A reboot ends all
 * mounts.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Backend } from "../../../backend/blob_source.ts";
import type { NydusdConfig } from "../../../backend/nydusd_config.ts";
import { messageOf, NydusGdError } from "../../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../../base/json_file.ts";
import { KeyedMutex } from "../../../base/keyed_mutex.ts";
import { logger } from "../../../base/log.ts";
import type { SizeLimit } from "../../../base/setting_values.ts";
import type { BlobCache } from "../../../blob/blob_cache.ts";
import type { OfferedImage, OfferName } from "../../../mount/fscache/offers.ts";
import type { ImageMounts } from "../../../mount/image_mounts.ts";
import { type BlobCacheEntry, readBlobEntry } from "./blob_entry.ts";
import type { ImageNumbers } from "../records/image_numbers.ts";
import { type ImagePrefetch, type ImagePrefetchOptions, startPrefetch } from "../../prefetch/image_prefetch.ts";
import { MappedBootstrap } from "../../mapped_bootstrap.ts";
import { OpenImage } from "../../open_image.ts";

const log = logger("image");

/** Options of {@link OfferedImages}. */
export interface OfferedImagesOptions {
  /** Path of the record, a JSON file that may contain credentials. */
  readonly path: string;
  readonly cache: BlobCache;
  readonly numbers: ImageNumbers;
  backendOf(config: NydusdConfig): Backend;
  /** Returns the prefetch scope of an image; undefined: no prefetch. */
  prefetch(config: NydusdConfig): ImagePrefetchOptions["scope"] | undefined;
  readonly minFree: SizeLimit;
  /** Returns the session, starting it if necessary. */
  serving(): Promise<ImageMounts>;
}

/** A registered image. */
interface Registered {
  readonly entry: BlobCacheEntry;
  readonly document: unknown;
  readonly image: OpenImage;
  readonly prefetch: ImagePrefetch | undefined;
}

/** The offered images of a server. End the session before disposing, which closes all open images. */
export class OfferedImages implements AsyncDisposable {
  readonly #registered = new Map<string, Registered>();
  /** Open images: registered, or still mounted. */
  readonly #open = new Set<Registered>();
  readonly #changing = new KeyedMutex<string>();

  private constructor(private readonly options: OfferedImagesOptions, private before: readonly unknown[]) {}

  /** Reads the record. A damaged one counts as empty. */
  static async open(options: OfferedImagesOptions): Promise<OfferedImages> {
    const document = await readJsonFile(options.path).catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      log.warn("record of offered images is damaged", { path: options.path });
      return [];
    });
    return new OfferedImages(options, Array.isArray(document) ? document : []);
  }

  /** Whether an earlier process had images that {@link reopen} would offer. */
  get hasPredecessor(): boolean {
    return this.before.length > 0;
  }

  /** Opens the images that an earlier process had registered, for a takeover of its mounts. */
  async reopen(): Promise<readonly OfferedImage[]> {
    const offered: OfferedImage[] = [];
    for (const document of this.before) {
      try {
        offered.push(await this.#register(readBlobEntry(document), document));
      } catch (error) {
        log.error("offered image is lost, its readers get errors", { error: messageOf(error) });
      }
    }
    this.before = [];
    return offered;
  }

  /** Drops what is left of an earlier process's registrations. */
  async forgetBefore(): Promise<void> {
    if (this.before.length === 0) return;
    this.before = [];
    await this.#write();
  }

  /**
   * Registers an image, which can be mounted once this resolves. Repeating the same entry has no effect.
   *
   * @throws {NydusGdError} as {@link readBlobEntry}, OpenImage.open and ImageMounts.offer; "exists" if the name is
   * taken by another entry
   */
  async add(document: unknown): Promise<void> {
    const entry = readBlobEntry(document);
    await this.#changing.run(keyOf(entry), async () => {
      const former = this.#registered.get(keyOf(entry));
      if (former !== undefined) {
        if (JSON.stringify(former.document) === JSON.stringify(document)) return;
        throw new NydusGdError("exists", `Cannot offer image ${entry.fsid}: another is offered under that name`);
      }
      const mounts = await this.options.serving();
      const offered = await this.#register(entry, document);
      try {
        await mounts.offer(offered);
        await this.#write();
      } catch (error) {
        await this.#close(entry);
        throw error;
      }
      log.info("image offered", { domain: entry.domain, fsid: entry.fsid });
    });
  }

  /** Returns the documents of the images registered in a domain. */
  list(domain: string): unknown[] {
    return [...this.#registered.values()].filter(({ entry }) => entry.domain === domain).map(({ document }) =>
      document
    );
  }

  /**
   * Withdraws an image, or a whole domain. Existing mounts keep working until they are unmounted.
   *
   * @throws {NydusGdError} "not-found"
   */
  async remove(domain: string, fsid: string | undefined): Promise<void> {
    const entries = Array.from(this.#registered.values(), ({ entry }) => entry)
      .filter((entry) => entry.domain === domain && (fsid === undefined || entry.fsid === fsid));
    if (entries.length === 0) {
      const what = `${fsid ?? "any"} in domain ${JSON.stringify(domain)}`;
      throw new NydusGdError("not-found", `Cannot end offer: there is no image ${what}`);
    }
    for (const entry of entries) await this.#changing.run(keyOf(entry), () => this.#remove(entry));
  }

  async #remove(entry: BlobCacheEntry): Promise<void> {
    const registered = this.#registered.get(keyOf(entry));
    if (registered === undefined) return;
    this.#registered.delete(keyOf(entry));
    await this.#write();
    const mounts = await this.options.serving();
    mounts.withdraw(entry)
      .then(() => this.#end(registered))
      .catch((error) => log.error("offered image not closed", { fsid: entry.fsid, error: messageOf(error) }));
  }

  async #register(entry: BlobCacheEntry, document: unknown): Promise<OfferedImage> {
    const { cache, numbers, backendOf, prefetch, minFree } = this.options;
    const name = `offered-${createHash("sha256").update(keyOf(entry)).digest("hex").slice(0, 32)}`;
    const number = await numbers.of(name);
    const backend = backendOf(entry.config);
    const image = OpenImage.open({ name, bootstrap: MappedBootstrap.open(entry.bootstrapPath), backend, cache });
    const scope = prefetch(entry.config);
    const registered = {
      entry,
      document,
      image,
      prefetch: scope && startPrefetch(image, cache, minFree, { scope }),
    };
    this.#registered.set(keyOf(entry), registered);
    this.#open.add(registered);
    return { image, number, domain: entry.domain, fsid: entry.fsid };
  }

  async #close(entry: OfferName): Promise<void> {
    const registered = this.#registered.get(keyOf(entry));
    this.#registered.delete(keyOf(entry));
    if (registered !== undefined) await this.#end(registered);
  }

  async #end(registered: Registered): Promise<void> {
    if (!this.#open.delete(registered)) return;
    await registered.prefetch?.stop();
    await registered.image[Symbol.asyncDispose]();
  }

  async #write(): Promise<void> {
    await writeJsonFile(this.options.path, Array.from(this.#registered.values(), ({ document }) => document));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const registered of this.#open) await this.#end(registered);
  }
}

function keyOf({ domain, fsid }: OfferName): string {
  return `${domain}\0${fsid}`;
}
