/**
 * Logs failed reads once per image, blob and kind, and again only after a read of that blob has succeeded.
 *
 * @module
 */
import type { Logger } from "@logtape/logtape";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import type { KnownImage } from "./known_image.ts";

/** Maximum distinct causes logged for one image between two successes: a hostile image can have many. */
const CAUSES_LOGGED = 16;

/** A failed read, and the blob that it concerns. */
export class ReadFailure extends Error {
  constructor(readonly blob: string, cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

/** Failures already logged, and the log that they go to. */
export class FailureLog {
  /** Logged causes by image number and blob. */
  readonly #logged = new Map<string, Set<string>>();

  constructor(private readonly log: Logger) {}

  /** Reports a failed read at `where`. */
  failed(known: KnownImage, where: Record<string, number>, error: unknown): void {
    const blob = error instanceof ReadFailure ? error.blob : "";
    if (!this.#isNewCause(logKey(known, blob), kindOf(error))) return;
    this.log.error("read failed", { image: known.image.name, blob, cause: messageOf(error), ...where });
  }

  /** Reports a successful read of a blob. */
  succeeded(known: KnownImage, blob: string): void {
    this.#logged.delete(logKey(known, blob));
  }

  /** Reports that a Worker could not read the image's metadata. */
  damaged(known: KnownImage, operation: string, ino: number, cause: string): void {
    if (!this.#isNewCause(logKey(known, ""), cause)) return;
    this.log.error("image is damaged", { image: known.image.name, operation, ino, cause });
  }

  /** Forgets everything logged for an image. */
  forget(known: KnownImage): void {
    for (const blob of ["", ...known.image.blobs.map((store) => store.id)]) this.succeeded(known, blob);
  }

  #isNewCause(key: string, cause: string): boolean {
    let causes = this.#logged.get(key);
    if (causes === undefined) this.#logged.set(key, causes = new Set());
    if (causes.has(cause) || causes.size >= CAUSES_LOGGED) return false;
    causes.add(cause);
    return true;
  }
}

/** What distinguishes failures: the error code, not the chunk or file. */
function kindOf(error: unknown): string {
  const cause = error instanceof ReadFailure ? error.cause : error;
  return cause instanceof NydusGdError ? cause.code : messageOf(cause);
}

function logKey(known: KnownImage, blob: string): string {
  return `${known.number}/${blob}`;
}
