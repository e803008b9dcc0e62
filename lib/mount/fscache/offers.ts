/**
 * Images that we do not mount ourselves, offered to whoever does: `mount -t erofs -o domain_id=D,fsid=F`.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { ErofsTasks } from "../erofs/erofs_tasks.ts";
import type { MountableImage } from "../image_mount.ts";
import { CachedImage } from "./cached_image.ts";
import type { CacheServer } from "./cache_server.ts";
import { volumeOf } from "./domain.ts";

/** What it is mounted by. */
export interface OfferName {
  /** Images of one domain share data; "" for a mount without `domain_id`. */
  readonly domain: string;
  readonly fsid: string;
}

/** An image and its name. */
export interface OfferedImage extends OfferName {
  readonly image: MountableImage;
  readonly number: number;
}

/** See the module. */
export class Offers {
  readonly #offers = new Map<string, CachedImage>();

  /** @param dir an existing folder of ours */
  constructor(
    private readonly server: CacheServer,
    private readonly dir: string,
    private readonly deadlineMs: number,
  ) {}

  /** How many there are. */
  get count(): number {
    return this.#offers.size;
  }

  /**
   * Offers an image. It can be mounted when this resolves, until {@link withdraw}.
   *
   * @throws {NydusGdError} "exists" for a name that is taken; what FscacheImages.add says
   */
  async add({ image, number, domain, fsid }: OfferedImage): Promise<void> {
    const volume = volumeOf(domain === "" ? fsid : domain);
    if (this.server.sourceOf(volume, fsid) !== undefined) {
      throw new NydusGdError("exists", `Cannot offer image ${fsid}: domain ${JSON.stringify(domain)} has one`);
    }
    const path = this.#pathOf(image);
    using tasks = new ErofsTasks();
    const { devices: tables } = await tasks.makeCached(image, path);
    const made = { image, number, path, tables };
    const cached = await CachedImage.open(this.server, volume, made, this.deadlineMs);
    await Deno.remove(path); // it is open
    cached.offer(fsid);
    this.#offers.set(keyOf({ domain, fsid }), cached);
  }

  /** Ends an offer: nobody can mount it any more. Resolves when nobody has it mounted, or at once where there is none. */
  async withdraw(name: OfferName): Promise<void> {
    const cached = this.#offers.get(keyOf(name));
    this.#offers.delete(keyOf(name));
    cached?.withdraw();
    if (cached === undefined) return;
    await this.server.whenClosed(cached.source);
    cached[Symbol.dispose]();
  }

  /** Ends all of them at once. */
  end(): void {
    for (const cached of this.#offers.values()) cached[Symbol.dispose]();
    this.#offers.clear();
  }

  #pathOf({ name }: MountableImage): string {
    return `${this.dir}/${name}.offered`;
  }
}

function keyOf({ domain, fsid }: OfferName): string {
  return `${domain}\0${fsid}`;
}
