/**
 * Records what the containers of one mounted image wait for while they start.
 *
 * ```
 * begin() ── chunks that are not here, in order of first touch ── no reader for 5 s, or stop() ──► LearnedReads
 * ```
 * Each container that starts begins it anew. What is read later than that is its own business and not recorded.
 *
 * @module
 */
import { Deadline } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { ChunkPlace } from "../../blob/fetch/chunk_fetcher.ts";
import { sha256OfFile } from "../source/file_digest.ts";
import { type LearnedReads, MAX_READS } from "./learned_reads.ts";
import { type BlobRange, ReadCoverage } from "./read_coverage.ts";

const log = logger("image", "learned");

/** Milliseconds without a reader that waits, after which a container has started. */
const SETTLED_MS = 5_000;
/** A start takes no longer; other images' readers may go on for ever. */
const LONGEST_START_MS = 10 * 60_000;

/** Chunks that a start may want beside what was learned before it counts as another one. */
const MAX_STRAYS = 24;

/** What a recorder works with. */
export interface ReadRecorderParts {
  readonly learned: LearnedReads;
  /** Resolves when no reader has waited for so many milliseconds. */
  readonly whenQuiet: (quietMs: number, signal: AbortSignal) => Promise<void>;
}

/** The readers of one image. Disposing ends the recording, and keeps what it has. */
export class ReadRecorder implements AsyncDisposable {
  /** SHA-256 of the bootstrap. */
  readonly #digest: Promise<string>;
  readonly #stopping = new AbortController();
  /** A container starts, or has started a moment ago. */
  #isOpen = false;
  /** Resolves when everything that was begun has ended, and is kept. */
  #ended: Promise<unknown> = Promise.resolve();
  #reads: { readonly blobIndex: number; readonly offset: number; length: number }[] = [];
  /** What {@link learned} gave. */
  #expected: ReadCoverage | undefined;
  /** Chunks that were noted since a container began to start, expected ones and others. */
  #hits = 0;
  #strays = 0;
  /** Offsets of chunks that were noted, by blob. */
  readonly #seen = new Map<number, Set<number>>();

  constructor(bootstrapPath: string, private readonly parts: ReadRecorderParts) {
    this.#digest = sha256OfFile(bootstrapPath);
    this.#digest.catch(() => {}); // who needs it is told
  }

  /** What earlier starts waited for. */
  async learned(): Promise<BlobRange[]> {
    const reads = await this.parts.learned.of(await this.#digest);
    this.#expected = new ReadCoverage(reads);
    this.#hits = this.#strays = 0;
    return reads;
  }

  /** Whether the container that starts wants what earlier ones did: most of what it waits for was learned. */
  get isFollowing(): boolean {
    return this.#strays <= Math.max(MAX_STRAYS, this.#hits);
  }

  /** A container starts. */
  begin(): void {
    if (this.#isOpen || this.#stopping.signal.aborted) return;
    this.#isOpen = true;
    this.#hits = this.#strays = 0;
    this.#ended = Promise.all([this.#ended, this.#record()]);
  }

  /** A reader waits for a chunk, or it is fetched along. */
  note(blobIndex: number, { offset, length }: ChunkPlace): void {
    if (!this.#isOpen || this.#reads.length >= MAX_READS) return;
    let seen = this.#seen.get(blobIndex);
    if (seen === undefined) this.#seen.set(blobIndex, seen = new Set());
    if (seen.has(offset)) return;
    seen.add(offset);
    if (this.#expected?.has({ blobIndex, offset, length })) this.#hits++;
    else this.#strays++;
    const last = this.#reads.at(-1);
    if (last?.blobIndex === blobIndex && last.offset + last.length === offset) last.length += length;
    else this.#reads.push({ blobIndex, offset, length });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  /** Never rejects. */
  async #record(): Promise<void> {
    using deadline = new Deadline(
      LONGEST_START_MS,
      this.#stopping.signal,
      () => new NydusGdError("interrupted", "Cannot record reads: the start takes too long"),
    );
    await this.parts.whenQuiet(SETTLED_MS, deadline.signal).catch(() => {}); // ended early: what there is is kept
    this.#isOpen = false;
    const reads = this.#reads;
    this.#reads = [];
    if (reads.length === 0) return;
    try {
      await this.parts.learned.add(await this.#digest, reads);
      log.debug("reads of a start learned", { ranges: reads.length });
    } catch (error) {
      log.warn("reads of a start not learned", { error: messageOf(error) });
    }
  }
}
