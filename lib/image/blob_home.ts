/**
 * Where the blobs of an image are: the homes that may have them, in order, and the first that has every one.
 *
 * Which homes there are, and in which order, is for layer_homes.ts to say. The choice is stored beside the image's state and used again without asking, so that a container starts from a warm
 * cache with the network down. A read that the chosen home cannot serve is a reason to ask the others: the first of them
 * that has every blob becomes the choice, for all reads from then on.
 *
 * @module
 */
import * as v from "valibot";
import type { Backend, BlobSource, ReadOptions } from "../backend/blob_source.ts";
import { Deadline, unlessAborted } from "../base/abort.ts";
import { hasCode, messageOf, NydusGdError } from "../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../base/json_file.ts";
import { logger } from "../base/log.ts";
import { SingleFlight } from "../base/single_flight.ts";

const log = logger("image");

/** A home that may have the blobs. */
export interface Candidate {
  /** Stable name of the home, what the stored choice says: "registry 127.0.0.1:5000/app". */
  readonly description: string;
  /** Bytes of each blob that the home is said to have, by id; absent where nothing is said. */
  readonly blobSizes?: ReadonlyMap<string, number>;
  open(): Backend;
}

/** A blob that a home must have. */
export interface WantedBlob {
  readonly id: string;
}

const Choice = v.object({ home: v.string() });

/** Home of an image that has no data: nothing is ever asked of it. */
const NOWHERE: Backend = {
  description: "nowhere: the image has no blobs",
  blob(id) {
    throw new NydusGdError("internal", `Cannot read blob ${id}: the image has no blobs`);
  },
};

/**
 * The stored choice where it is still a candidate, else the first candidate that has every blob.
 *
 * @param choicePath file that keeps the choice
 * @param deadlineMs how long all homes together may take to answer; each gets its share
 * @param signal ends this search, not later ones of the home that was found
 * @throws {NydusGdError} "unavailable" that names what each home lacks
 */
export async function chooseHome(
  candidates: readonly Candidate[],
  blobs: readonly WantedBlob[],
  choicePath: string,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<Backend> {
  if (blobs.length === 0) return NOWHERE;
  const search: Search = { candidates, blobs, choicePath, deadlineMs };
  const chosen = await storedChoice(search);
  if (chosen !== undefined) return new BlobHome(search, chosen);
  const failures: HomeFailure[] = [];
  const found = await findHome(search, candidates, failures, signal);
  if (found !== undefined) return new BlobHome(search, found);
  throw nowhere(blobs, failures);
}

/** What was asked and said, and what mends it: the first hint that a home gave. */
function nowhere([first, ...others]: readonly WantedBlob[], failures: readonly HomeFailure[]): NydusGdError {
  const missing = others.length === 0 ? first?.id : `${first?.id} and ${others.length} more`;
  const reasons = failures.map(({ home, error }) => `${home}: ${messageOf(error)}`);
  const hints = failures.map(({ error }) => error instanceof NydusGdError ? error.hint : undefined);
  return new NydusGdError(
    "unavailable",
    `Cannot find the blobs of the image: ${reasons.join("; ") || `no home is known that has ${missing}`}`,
    {
      hint: hints.find((hint) => hint !== undefined) ??
        "set device.backend in the configuration, or pull the image again",
    },
  );
}

interface Search {
  readonly candidates: readonly Candidate[];
  readonly blobs: readonly WantedBlob[];
  readonly choicePath: string;
  readonly deadlineMs: number;
}

interface HomeFailure {
  readonly home: string;
  readonly error: unknown;
}

interface Home {
  readonly candidate: Candidate;
  readonly backend: Backend;
}

/** The home of last time; a choice that cannot be read or opened is made anew. */
async function storedChoice({ candidates, choicePath }: Search): Promise<Home | undefined> {
  try {
    const choice = v.safeParse(Choice, await readJsonFile(choicePath));
    const candidate = candidates.find(({ description }) => choice.success && description === choice.output.home);
    return candidate && { candidate, backend: candidate.open() };
  } catch (error) {
    log.warn("stored home is of no use", { choicePath, error: messageOf(error) });
    return undefined;
  }
}

/** The first of `candidates` that has every blob; it is stored as the choice. `failures` gets what the others lack. */
async function findHome(
  { blobs, choicePath, deadlineMs }: Search,
  candidates: readonly Candidate[],
  failures: HomeFailure[],
  signal?: AbortSignal,
): Promise<Home | undefined> {
  const shareMs = Math.ceil(deadlineMs / candidates.length);
  for (const candidate of candidates) {
    try {
      using deadline = new Deadline(shareMs, signal, () => late(shareMs));
      const backend = candidate.open();
      await Promise.all(blobs.map(({ id }) => requireBlob(candidate, backend, id, deadline.signal)));
      await storeChoice(choicePath, candidate);
      return { candidate, backend };
    } catch (error) {
      signal?.throwIfAborted();
      log.debug("home has not every blob", { home: candidate.description, error: messageOf(error) });
      failures.push({ home: candidate.description, error });
    }
  }
  return undefined;
}

/** The home has the blob, and it is as long as was said. */
async function requireBlob({ blobSizes }: Candidate, backend: Backend, id: string, signal: AbortSignal): Promise<void> {
  const said = blobSizes?.get(id);
  if (blobSizes !== undefined && said === undefined) {
    throw new NydusGdError("not-found", `Cannot find blob ${id}: the layer does not say that it is there`);
  }
  const size = await backend.blob(id).size(signal);
  if (said === undefined || said === size) return;
  throw new NydusGdError("invalid-image", `Cannot use blob ${id}: it has ${size} bytes, the layer says ${said}`);
}

/** The choice saves a search; that it cannot be stored is no reason to fail. */
async function storeChoice(choicePath: string, { description }: Candidate): Promise<void> {
  try {
    await writeJsonFile(choicePath, { home: description });
  } catch (error) {
    log.warn("home not stored", { choicePath, home: description, error: messageOf(error) });
  }
}

function late(shareMs: number): NydusGdError {
  return new NydusGdError("unavailable", `no answer within ${shareMs} ms`);
}

/** The chosen home, left for another one when it fails. */
class BlobHome implements Backend {
  readonly #leaving = new SingleFlight<Home, void>();

  constructor(private readonly search: Search, private home: Home) {}

  get description(): string {
    return this.home.backend.description;
  }

  get backend(): Backend {
    return this.home.backend;
  }

  blob(id: string): BlobSource {
    return new BlobAtHome(this, id);
  }

  /** Looks for another home than the one that failed. Resolves to false when the others lack a blob too. */
  async leave(failed: Backend, signal: AbortSignal | undefined): Promise<boolean> {
    const { home } = this;
    if (home.backend === failed) {
      await unlessAborted(this.#leaving.run(home, () => this.#findOther(home)), signal);
    }
    return this.home.backend !== failed;
  }

  async #findOther(left: Home): Promise<void> {
    const others = this.search.candidates.filter((candidate) => candidate !== left.candidate);
    const found = await findHome(this.search, others, []);
    if (found === undefined) return;
    log.warn("home left for another", { from: left.candidate.description, to: found.candidate.description });
    this.home = found;
  }
}

/** One blob, wherever its home is now. */
class BlobAtHome implements BlobSource {
  #backend: Backend;
  #source: BlobSource;

  constructor(private readonly home: BlobHome, private readonly id: string) {
    this.#backend = home.backend;
    this.#source = this.#backend.blob(id);
  }

  get description(): string {
    return this.#source.description;
  }

  read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array> {
    return this.#ask((source) => source.read(offset, length, options), options.signal);
  }

  size(signal?: AbortSignal): Promise<number> {
    return this.#ask((source) => source.size(signal), signal);
  }

  async #ask<T>(question: (source: BlobSource) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const { backend, source } = this.#current();
    try {
      return await question(source);
    } catch (error) {
      const isHomes = hasCode(error, "not-found", "unauthorized", "unavailable");
      if (signal?.aborted || !isHomes || !await this.home.leave(backend, signal)) throw error;
      return await question(this.#current().source);
    }
  }

  #current(): { readonly backend: Backend; readonly source: BlobSource } {
    const { backend } = this.home;
    if (backend !== this.#backend) {
      this.#source = backend.blob(this.id);
      this.#backend = backend;
    }
    return { backend, source: this.#source };
  }
}
