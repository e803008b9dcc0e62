/**
 * Where the blobs of an image are: the homes that may have them, in order, and the first that has every one.
 *
 * 1. a configured backend that is not a registry
 * 2. the repositories that Docker recorded for the layer when it pulled it
 * 3. the configured registry
 *
 * The choice is stored beside the image's state: it is used again when no home can be asked, so that a container starts
 * from a warm cache with the network down.
 *
 * @module
 */
import * as v from "valibot";
import type { Backend } from "../backend/blob_source.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import { logger } from "../base/log.ts";

const log = logger("image");

/** A home that may have the blobs. */
export interface Candidate {
  /** Stable name of the home, what the stored choice says: "registry 127.0.0.1:5000/app". */
  readonly description: string;
  open(): Backend;
}

/** A blob that a home must have. */
export interface WantedBlob {
  readonly id: string;
}

const Choice = v.object({ home: v.string() });

/**
 * The first candidate that has every blob.
 *
 * @param choicePath file that keeps the choice
 * @throws {NydusGdError} "unavailable" that names what each home lacks
 */
export async function chooseHome(
  candidates: readonly Candidate[],
  blobs: readonly WantedBlob[],
  choicePath: string,
  signal?: AbortSignal,
): Promise<Backend> {
  const stored = v.safeParse(Choice, await readJsonFile(choicePath));
  const chosen = stored.success ? candidates.find((c) => c.description === stored.output.home) : undefined;
  // A home that was right once is not asked again: content is named by digest, and reads say what is missing.
  if (chosen !== undefined) return chosen.open();
  const reasons: string[] = [];
  for (const candidate of candidates) {
    try {
      const backend = candidate.open();
      await Promise.all(blobs.map((blob) => backend.blob(blob.id).size(signal)));
      await writeJsonFile(choicePath, { home: candidate.description });
      return backend;
    } catch (error) {
      signal?.throwIfAborted();
      log.debug("home has not every blob", { home: candidate.description, error: messageOf(error) });
      reasons.push(`${candidate.description}: ${messageOf(error)}`);
    }
  }
  throw new NydusGdError(
    "unavailable",
    reasons.length === 0
      ? "Cannot find the blobs of the image: no home is known"
      : `Cannot find the blobs of the image: ${reasons.join("; ")}`,
    { hint: "set device.backend in the configuration, or pull the image again" },
  );
}
