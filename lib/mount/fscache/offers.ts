/**
 * Images that are not mounted here but offered for others to mount: `mount -t erofs -o domain_id=D,fsid=F`.
 *
 * @module
 */
import { ignore, NydusGdError } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { ErofsTasks, imagePath } from "../erofs/erofs_tasks.ts";
import { readCachedImage } from "../erofs/cached_image_file.ts";
import { recomputeDevices } from "../erofs/recompute_devices.ts";
import type { MountableImage } from "../image_mount.ts";
import type { CacheServer } from "./cache_server.ts";
import { CachedImage } from "./cached_image.ts";
import { volumeOf } from "./domain.ts";

/** The name by which an offer is mounted. */
export interface OfferName {
  /** Images of the same domain share data; "" for a mount without `domain_id`. */
  readonly domain: string;
  readonly fsid: string;
}

/** An image and its name. */
export interface OfferedImage extends OfferName {
  readonly image: MountableImage;
  readonly number: number;
}

/** The offered images, by domain and fsid. */
export class Offers {
  readonly #offers = new Map<string, { readonly image: MountableImage; readonly cached: CachedImage }>();
  readonly #changing = new KeyedMutex<string>();

  /** @param dir an existing directory of ours */
  constructor(
    private readonly server: CacheServer,
    private readonly dir: string,
    private readonly deadlineMs: number,
  ) {}

  /** Number of offers. */
  get count(): number {
    return this.#offers.size;
  }

  /**
   * Offers an image. It can be mounted from when this resolves until {@link withdraw}.
   *
   * @throws {NydusGdError} "exists" for a name in use; errors as of FscacheImages.add
   */
  add(offered: OfferedImage): Promise<void> {
    return this.#changing.run(keyOf(offered), () => this.#add(offered));
  }

  async #add(offered: OfferedImage): Promise<void> {
    const { image, number, domain, fsid } = offered;
    const volume = volumeOfOffer(offered);
    if (this.server.sourceOf(volume, fsid) !== undefined) {
      throw new NydusGdError("exists", `Cannot offer image ${fsid}: domain ${JSON.stringify(domain)} has one`);
    }
    using cleanup = new DisposableStack();
    using tasks = new ErofsTasks();
    const kept = imagePath(this.dir, image), path = this.#pathOf(image), aside = `${path}.making`;
    const tables = await tasks.keep(image.bootstrap, kept);
    const cached = cleanup.use(await CachedImage.open(this.server, volume, { image, number, tables }, this.deadlineMs));
    const digest = await tasks.makeCached(kept, aside, cached.names);
    await Deno.rename(aside, path); // not in place: a withdrawn offer may still be mounted from the old file
    cached.openFile(path, { digest });
    cleanup.move();
    this.#offer(offered, cached);
  }

  /**
   * Offers an image again that an earlier process of this boot offered: it may be mounted.
   *
   * @throws {NydusGdError} as {@link add}
   */
  restore(offered: OfferedImage): Promise<void> {
    return this.#changing.run(keyOf(offered), () => this.#restore(offered));
  }

  async #restore(offered: OfferedImage): Promise<void> {
    const { image, number } = offered;
    const path = this.#pathOf(image);
    const made = await readCachedImage(path);
    if (made === undefined) return await this.#add(offered);
    const { names, digest } = made;
    const { devices: tables } = await recomputeDevices(image, this.dir);
    const volume = volumeOfOffer(offered);
    const cached = await CachedImage.open(this.server, volume, { image, number, tables, names }, this.deadlineMs);
    cached.openFile(path, { digest });
    this.#offer(offered, cached);
  }

  #offer({ image, domain, fsid }: OfferedImage, cached: CachedImage): void {
    cached.offer(fsid);
    this.#offers.set(keyOf({ domain, fsid }), { image, cached });
  }

  /**
   * Withdraws an offer: it cannot be mounted any more. Resolves when nobody has it mounted, or at once if there is no
   * such offer.
   */
  async withdraw(name: OfferName): Promise<void> {
    const offer = this.#offers.get(keyOf(name));
    this.#offers.delete(keyOf(name));
    if (offer === undefined) return;
    offer.cached.withdraw();
    await offer.cached.whenClosed();
    offer.cached[Symbol.dispose]();
    await this.#changing.run(keyOf(name), () => this.#removeFiles(name, offer.image));
  }

  async #removeFiles(name: OfferName, image: MountableImage): Promise<void> {
    if (this.#offers.has(keyOf(name))) return; // they belong to a new offer by now
    for (const path of [imagePath(this.dir, image), this.#pathOf(image)]) {
      await ignore(Deno.errors.NotFound, Deno.remove(path));
    }
  }

  /** Withdraws all offers at once, without waiting. */
  end(): void {
    for (const { cached } of this.#offers.values()) cached[Symbol.dispose]();
    this.#offers.clear();
  }

  #pathOf({ name }: MountableImage): string {
    return `${this.dir}/${name}.offered`;
  }
}

function volumeOfOffer({ domain, fsid }: OfferName): string {
  return volumeOf(domain === "" ? fsid : domain);
}

function keyOf({ domain, fsid }: OfferName): string {
  return `${domain}\0${fsid}`;
}
