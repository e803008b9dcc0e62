/**
 * The images that a Worker serves, each with its own reader on the shared mapping.
 *
 * A removed image continues to be served, because open files and overlays still refer to its nodes; it only gets no new
 * references by name. When the kernel has dropped the last one, the main thread is notified and may unmap it.
 *
 * @module
 */
import { viewAt } from "../../../ffi/sys_mman.ts";
import type { DeviceTable } from "../../rafs/erofs/device_table.ts";
import { openBootstrap } from "../../rafs/open.ts";
import type { OpenBlob, ServedTree } from "../image_mount.ts";
import { DeviceTree } from "./device_tree.ts";
import { IMAGE_STATE, type ImageMessage, type ToWorker } from "./worker_messages.ts";

/** One image. */
export class ServedImage {
  /** By index in the image; undefined until the main thread has opened the blob. */
  readonly blobs: (OpenBlob | undefined)[] = [];
  readonly number: number;
  readonly name: string;
  readonly #bootstrap: Uint8Array;
  readonly #devices: readonly DeviceTable[] | undefined;
  readonly #state: Int32Array<SharedArrayBuffer>;
  #tree: ServedTree | undefined;

  constructor({ image, name, address, length, devices, state }: ImageMessage) {
    this.number = image;
    this.name = name;
    this.#bootstrap = viewAt(address, length);
    this.#devices = devices;
    this.#state = state;
  }

  /**
   * The tree, opened on first use. An idle Worker may process the messages of an image that came and went meanwhile,
   * along with its mapping, so the bootstrap may be touched only while the image is visible or referenced.
   */
  get tree(): ServedTree {
    return this.#tree ??= this.#devices === undefined
      ? openBootstrap(this.#bootstrap, { treeOnly: true }) // the main thread has validated it
      : new DeviceTree(this.#devices);
  }

  /** Whether its files are devices: the kernel caches their contents as files of the mounts on top of them. */
  get isDevices(): boolean {
    return this.#devices !== undefined;
  }

  /** Number of 4096-byte blocks of all data of the image, for statfs. */
  get blocks(): number {
    return Math.ceil(this.tree.dataBytes / 4096);
  }

  /** Counts a reference that the kernel is about to get. */
  addReference(): void {
    Atomics.add(this.#state, IMAGE_STATE.references, 1);
  }

  /** Drops references. Returns true if the image is removed and this was the last one. */
  dropReferences(count: number): boolean {
    const left = Atomics.sub(this.#state, IMAGE_STATE.references, count) - count;
    return left === 0 && this.removed;
  }

  /** Whether its name has been hidden. */
  get removed(): boolean {
    return Atomics.load(this.#state, IMAGE_STATE.removed) !== 0;
  }
}

/** All images, by number and by name. */
export class ServedImages {
  readonly #byNumber = new Map<number, ServedImage>();
  readonly #byName = new Map<string, ServedImage>();

  /** Applies a message of the main thread. Throws if the bootstrap cannot be opened. */
  apply(message: ToWorker): void {
    switch (message.kind) {
      case "image": {
        const image = new ServedImage(message);
        this.#byNumber.set(image.number, image);
        this.#byName.set(image.name, image);
        break;
      }
      case "remove": {
        const image = this.#byNumber.get(message.image);
        if (image !== undefined && this.#byName.get(image.name) === image) this.#byName.delete(image.name);
        break;
      }
      case "drop":
        this.#byNumber.delete(message.image);
        break;
      case "blob": {
        const image = this.#byNumber.get(message.image);
        if (image !== undefined) image.blobs[message.index] = message.blob;
        break;
      }
    }
  }

  /** The image with this number, removed or not. */
  get(number: number): ServedImage | undefined {
    return this.#byNumber.get(number);
  }

  /** The visible image of this name. Names are ASCII. */
  named(name: Uint8Array): ServedImage | undefined {
    return this.#byName.get(String.fromCharCode(...name));
  }

  /** The visible images, by number. */
  listed(): ServedImage[] {
    return [...this.#byName.values()].sort((a, b) => a.number - b.number);
  }
}
