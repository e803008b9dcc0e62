/**
 * Chooses the backend of an image's blobs: the first candidate that has all of them.
 *
 * backend_candidates.ts lists the candidates. The choice is stored with the image's state and reused without a
 * request, so that a container starts from a warm cache while the network is down. It is stored with the repository that
 * a user pulled the image from, if that was chosen: Docker's record of it may go, as by a push to another repository of
 * the registry that could not refer to the layer in this one. When the chosen backend fails a read,
 * the others are tried; the first one with every blob replaces the choice for all further reads.
 *
 * @module
 */
import * as v from "valibot";
import type { Backend, BlobSource, ReadOptions } from "../../../backend/blob_source.ts";
import { Deadline, unlessAborted } from "../../../base/abort.ts";
import { hasCode, messageOf, NydusGdError } from "../../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../../base/json_file.ts";
import { logger } from "../../../base/log.ts";
import { SingleFlight } from "../../../base/single_flight.ts";
import { isRegistryHost, isRepository } from "../../../oci/reference.ts";
import { streamBlob } from "../../source/blob_stream.ts";

const log = logger("image");

/** A backend that may have the blobs. */
export interface BackendCandidate {
  /** Stable name of the backend, as stored in the choice: "registry 127.0.0.1:5000/app". */
  readonly description: string;
  /** Expected size in bytes of each blob, by ID; undefined if not stated. */
  readonly blobSizes?: ReadonlyMap<string, number>;
  /** The repository, if a user pulled the image from it or pushed it there. */
  readonly pulledFrom?: PulledFrom;
  open(): Backend;
}

/** A repository of a registry that a user named. */
export interface PulledFrom {
  /** HOST or HOST:PORT. */
  readonly host: string;
  readonly repository: string;
}

const Choice = v.object({
  home: v.string(),
  pulledFrom: v.optional(v.object({
    host: v.pipe(v.string(), v.check(isRegistryHost)),
    repository: v.pipe(v.string(), v.check(isRepository)),
  })),
});

type StoredChoice = v.InferOutput<typeof Choice>;

/** The backend of an image without blobs, which is never read. */
const NO_BACKEND: Backend = {
  description: "nowhere: the image has no blobs",
  blob(id) {
    throw new NydusGdError("internal", `Cannot read blob ${id}: the image has no blobs`);
  },
};

/** What is looked for, where, and how long. */
export interface BackendSearch {
  /** Lists where to look, in order of preference. `chosen`: the repository that was chosen before, if a user named it. */
  readonly candidates: (chosen: PulledFrom | undefined) => Promise<readonly BackendCandidate[]>;
  /** The blobs that the backend must have. */
  readonly blobIds: readonly string[];
  /** File that stores the choice. */
  readonly choicePath: string;
  /** Time limit for all candidates together; each gets an equal share. */
  readonly deadlineMs: number;
}

/**
 * Returns the stored choice if it is still a candidate, else the first candidate that has every blob.
 *
 * @param signal aborts this search, but not later searches of the returned backend
 * @throws {NydusGdError} "unavailable"; the message says what each candidate lacks
 */
export async function chooseBackend(search: BackendSearch, signal: AbortSignal): Promise<Backend> {
  if (search.blobIds.length === 0) return NO_BACKEND;
  const choice = await readChoice(search.choicePath);
  const candidates = await search.candidates(choice?.pulledFrom);
  const failures: CandidateFailure[] = [];
  const chosen = await openChoice(search, choice, candidates) ??
    await findBackend(search, candidates, failures, signal);
  if (chosen === undefined) throw unavailableError(search.blobIds, failures);
  return new ChosenBackend(search, candidates, chosen);
}

/** Combines the failures of all candidates, with the first hint among them. */
function unavailableError(
  [first, ...others]: readonly string[],
  failures: readonly CandidateFailure[],
): NydusGdError {
  const missing = others.length === 0 ? first : `${first} and ${others.length} more`;
  const reasons = failures.map(({ description, error }) => `${description}: ${messageOf(error)}`);
  const hints = failures.map(({ error }) => error instanceof NydusGdError ? error.hint : undefined);
  return new NydusGdError(
    "unavailable",
    `Cannot find the blobs of the image: ${reasons.join("; ") || `no backend is known that has ${missing}`}`,
    {
      hint: hints.find((hint) => hint !== undefined) ??
        "set device.backend in the configuration, or pull the image again",
    },
  );
}

interface CandidateFailure {
  readonly description: string;
  readonly error: unknown;
}

interface OpenedCandidate {
  readonly candidate: BackendCandidate;
  readonly backend: Backend;
}

/** Returns the stored choice; undefined if there is none, or it cannot be read. */
async function readChoice(choicePath: string): Promise<StoredChoice | undefined> {
  try {
    const choice = v.safeParse(Choice, await readJsonFile(choicePath));
    return choice.success ? choice.output : undefined;
  } catch (error) {
    log.warn("stored backend cannot be read", { choicePath, error: messageOf(error) });
    return undefined;
  }
}

/** Opens the candidate that was chosen before; undefined if it is none any more, or cannot be opened. */
async function openChoice(
  { choicePath }: BackendSearch,
  choice: StoredChoice | undefined,
  candidates: readonly BackendCandidate[],
): Promise<OpenedCandidate | undefined> {
  const candidate = candidates.find(({ description }) => description === choice?.home);
  if (candidate === undefined) return undefined;
  try {
    const backend = candidate.open();
    if (candidate.pulledFrom !== undefined && choice?.pulledFrom === undefined) {
      await storeChoice(choicePath, candidate);
    }
    return { candidate, backend };
  } catch (error) {
    log.warn("stored backend cannot be used", { choicePath, error: messageOf(error) });
    return undefined;
  }
}

/**
 * Returns the first of `candidates` that has every blob, and stores it as the choice. Adds the others to `failures`.
 */
async function findBackend(
  { blobIds, choicePath, deadlineMs }: BackendSearch,
  candidates: readonly BackendCandidate[],
  failures: CandidateFailure[],
  signal?: AbortSignal,
): Promise<OpenedCandidate | undefined> {
  const shareMs = Math.ceil(deadlineMs / candidates.length);
  for (const candidate of candidates) {
    try {
      using deadline = new Deadline(shareMs, signal, () => timeoutError(shareMs));
      const backend = candidate.open();
      await Promise.all(blobIds.map((id) => requireBlob(candidate, backend, id, deadline.signal)));
      await storeChoice(choicePath, candidate);
      return { candidate, backend };
    } catch (error) {
      signal?.throwIfAborted();
      log.debug("backend does not have every blob", { home: candidate.description, error: messageOf(error) });
      failures.push({ description: candidate.description, error });
    }
  }
  return undefined;
}

/** Checks that the backend has the blob, and that its size is the expected one. */
async function requireBlob(
  { blobSizes }: BackendCandidate,
  backend: Backend,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const said = blobSizes?.get(id);
  if (blobSizes !== undefined && said === undefined) {
    throw new NydusGdError("not-found", `Cannot find blob ${id}: the layer does not say that it is there`);
  }
  const size = await backend.blob(id).size(signal);
  if (said === undefined || said === size) return;
  throw new NydusGdError("invalid-image", `Cannot use blob ${id}: it has ${size} bytes, the layer says ${said}`);
}

/** Stores the choice. A failure is only logged, since the choice just saves a search. */
async function storeChoice(choicePath: string, { description, pulledFrom }: BackendCandidate): Promise<void> {
  try {
    await writeJsonFile(choicePath, { home: description, ...(pulledFrom === undefined ? {} : { pulledFrom }) });
  } catch (error) {
    log.warn("backend not stored", { choicePath, home: description, error: messageOf(error) });
  }
}

function timeoutError(shareMs: number): NydusGdError {
  return new NydusGdError("unavailable", `no answer within ${shareMs} ms`);
}

/** The chosen backend, replaced by another one when it fails. */
class ChosenBackend implements Backend {
  readonly #leaving = new SingleFlight<OpenedCandidate, void>();

  constructor(
    private readonly search: BackendSearch,
    private readonly candidates: readonly BackendCandidate[],
    private chosen: OpenedCandidate,
  ) {}

  get description(): string {
    return this.chosen.backend.description;
  }

  get backend(): Backend {
    return this.chosen.backend;
  }

  blob(id: string): BlobSource {
    return new ChosenBlob(this, id);
  }

  /** Looks for a replacement of the failed backend. Resolves to false if no other one has every blob. */
  async leave(failed: Backend, signal: AbortSignal | undefined): Promise<boolean> {
    const { chosen } = this;
    if (chosen.backend === failed) {
      await unlessAborted(this.#leaving.run(chosen, () => this.#findOther(chosen)), signal);
    }
    return this.chosen.backend !== failed;
  }

  async #findOther(left: OpenedCandidate): Promise<void> {
    const others = this.candidates.filter((candidate) => candidate !== left.candidate);
    const found = await findBackend(this.search, others, []);
    if (found === undefined) return;
    log.warn("switched to another backend", { from: left.candidate.description, to: found.candidate.description });
    this.chosen = found;
  }
}

/** A blob in the currently chosen backend. */
class ChosenBlob implements BlobSource {
  #backend: Backend;
  #source: BlobSource;

  constructor(private readonly chosen: ChosenBackend, private readonly id: string) {
    this.#backend = chosen.backend;
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

  /** From the backend that is chosen now: one that fails is replaced at the next read. */
  stream(size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    return streamBlob(this.#current().source, size, signal);
  }

  async #ask<T>(question: (source: BlobSource) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const { backend, source } = this.#current();
    try {
      return await question(source);
    } catch (error) {
      const isBackendError = hasCode(error, "not-found", "unauthorized", "unavailable");
      if (signal?.aborted || !isBackendError || !await this.chosen.leave(backend, signal)) throw error;
      return await question(this.#current().source);
    }
  }

  #current(): { readonly backend: Backend; readonly source: BlobSource } {
    const { backend } = this.chosen;
    if (backend !== this.#backend) {
      this.#source = backend.blob(this.id);
      this.#backend = backend;
    }
    return { backend, source: this.#source };
  }
}
