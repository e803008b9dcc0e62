/**
 * The main thread's registry of images: visible ones, and removed ones that are still referenced.
 *
 * ```
 * add ──► seen ──remove──► removed ──last reference dropped──► released
 * ```
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import type { MountableImage } from "../image_mount.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { checkImageNumber, devicesNumber } from "./node_id.ts";
import { IMAGE_STATE, type ToWorker } from "./worker_messages.ts";

/** More references than a predecessor can have given out and the kernel can return. */
const UNKNOWN_REFERENCES = 2 ** 30;
/** A count above this still includes {@link UNKNOWN_REFERENCES}. */
const MAX_KNOWN_REFERENCES = UNKNOWN_REFERENCES / 2;

/** A registered image. */
export interface RegisteredImage extends KnownImage {
  /** Cells of IMAGE_STATE, shared with the Workers. */
  readonly state: Int32Array<SharedArrayBuffer>;
  readonly released: PromiseWithResolvers<void>;
}

/** All images of a session. Every change is sent to the Workers. */
export class ImageRegistry {
  readonly #images = new Map<number, RegisteredImage>();
  readonly #send: (message: ToWorker) => void;
  readonly #onReleased: (image: RegisteredImage) => void;

  /**
   * @param send posts to every Worker
   * @param onReleased called when nothing refers to an image any more
   */
  constructor(send: (message: ToWorker) => void, onReleased: (image: RegisteredImage) => void) {
    this.#send = send;
    this.#onReleased = onReleased;
  }

  /** The image with this number, removed or not. */
  get(number: number): RegisteredImage | undefined {
    return this.#images.get(number);
  }

  /**
   * Registers an image.
   *
   * @param references held by the kernel already; "unknown": the image is released only when the session ends
   * @throws {NydusGdError} "exists" if the number belongs to an image that is not released, or the name is visible
   * @throws {RangeError} for a number that does not fit into node ids
   */
  add(image: MountableImage, imageNumber: number, references: number | "unknown" = 0): RegisteredImage {
    checkImageNumber(imageNumber);
    const number = registeredNumber(image, imageNumber);
    if (!/^[a-zA-Z0-9._-]{1,255}$/.test(image.name) || image.name === "." || image.name === "..") {
      throw new NydusGdError("internal", `Cannot add image: name ${JSON.stringify(image.name)} is not a folder name`);
    }
    for (const other of this.#images.values()) {
      if (other.number === number || (other.image.name === image.name && !isRemoved(other))) {
        throw new NydusGdError("exists", `Cannot add image ${image.name}: its number or name is in use`);
      }
    }
    const state = new Int32Array(new SharedArrayBuffer(IMAGE_STATE.LENGTH * 4));
    Atomics.store(state, IMAGE_STATE.references, references === "unknown" ? UNKNOWN_REFERENCES : references);
    const entry: RegisteredImage = { number, image, blobs: [], state, released: Promise.withResolvers() };
    const message = imageMessage(entry);
    this.#images.set(number, entry);
    this.#send(message);
    return entry;
  }

  /** Reference counts by image number, for images whose count is known. */
  references(): Map<number, number> {
    const counted = [...this.#images.values()].filter(isCounted);
    return new Map(counted.map((entry) => [entry.number, referencesOf(entry)]));
  }

  /** Messages that bring a new Worker up to date before its first request. */
  messages(): ToWorker[] {
    return [...this.#images.values()].flatMap((entry) => [
      imageMessage(entry),
      ...blobMessages(entry),
      ...(isRemoved(entry) ? [removal(entry)] : []),
    ]);
  }

  /** Hides the image's name. Returns false if it was hidden already. */
  hide(entry: RegisteredImage): boolean {
    if (isRemoved(entry)) return false;
    Atomics.store(entry.state, IMAGE_STATE.removed, 1);
    this.#send(removal(entry));
    return true;
  }

  /** Releases a hidden image without references; otherwise that happens when the last reference is dropped. */
  releaseIfUnused(entry: RegisteredImage | undefined): void {
    if (entry !== undefined && isRemoved(entry) && referencesOf(entry) === 0) this.#release(entry);
  }

  /** Releases a hidden image that others know to be unreferenced, although its count is not known. */
  releaseUncounted(entry: RegisteredImage): void {
    if (isRemoved(entry) && !isCounted(entry)) this.#release(entry);
  }

  #release(entry: RegisteredImage): void {
    if (!this.#images.delete(entry.number)) return;
    this.#send({ kind: "drop", image: entry.number });
    this.#onReleased(entry);
    entry.released.resolve();
  }

  /** Releases all images: the mount is gone. */
  releaseAll(): void {
    for (const entry of this.#images.values()) entry.released.resolve();
    this.#images.clear();
  }
}

/** The message that announces an image to a Worker. */
function imageMessage({ image, number, state }: RegisteredImage): ToWorker {
  const { address, length } = image.bootstrap;
  return { kind: "image", image: number, name: image.name, address, length, devices: image.devices, state };
}

/** The messages that announce its opened blobs. */
function blobMessages({ blobs, number }: RegisteredImage): ToWorker[] {
  return [...blobs.entries()].flatMap(([index, blob]) =>
    blob === undefined ? [] : [{ kind: "blob", image: number, index, blob } satisfies ToWorker]
  );
}

/** The image's number in node ids. */
export function registeredNumber({ devices }: MountableImage, imageNumber: number): number {
  return devices === undefined ? imageNumber : devicesNumber(imageNumber);
}

/** Whether the end of its last reference can be detected. */
export function isCounted(entry: RegisteredImage): boolean {
  return referencesOf(entry) <= MAX_KNOWN_REFERENCES;
}

function referencesOf({ state }: RegisteredImage): number {
  return Atomics.load(state, IMAGE_STATE.references);
}

function removal({ number }: RegisteredImage): ToWorker {
  return { kind: "remove", image: number };
}

function isRemoved(entry: RegisteredImage): boolean {
  return Atomics.load(entry.state, IMAGE_STATE.removed) !== 0;
}
