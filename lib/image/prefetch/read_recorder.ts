/**
 * Records what the containers of one mounted image wait for while they start.
 *
 * ```
 * begin() ── missing chunks, in order of first access ── no waiting reader for 5 s, or dispose ──► LearnedReads
 * ```
 * Each starting container begins a new recording. Later reads depend on its workload and are not recorded.
 *
 * @module
 */
import { Deadline } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { sha256OfFile } from "../../base/file_digest.ts";
import { type LearnedReads, MAX_READS } from "./learned_reads.ts";
import { type BlobRange, ReadCoverage } from "./read_coverage.ts";

const log = logger("image", "learned");

/** Milliseconds without a waiting reader after which a container counts as started. */
const SETTLED_MS = 5_000;
/** Maximum duration of a start, since readers of other images may never pause. */
const LONGEST_START_MS = 10 * 60_000;

/** Chunks outside the learned reads that a start may touch before it counts as a different one. */
const MAX_STRAYS = 24;

/** Dependencies of a recorder. */
export interface ReadRecorderParts {
  readonly learned: LearnedReads;
  /** Resolves once no reader has waited for `quietMs` milliseconds. */
  readonly whenQuiet: (quietMs: number, signal: AbortSignal) => Promise<void>;
}

/** Recorder of one image's readers. Disposing ends the recording and saves it. */
export class ReadRecorder implements AsyncDisposable {
  /** SHA-256 of the bootstrap. */
  readonly #digest: Promise<string>;
  readonly #stopping = new AbortController();
  /** Whether a container is starting. */
  #isOpen = false;
  /** Resolves when all recordings have ended and are saved. */
  #ended: Promise<unknown> = Promise.resolve();
  #reads: { readonly blobIndex: number; readonly offset: number; length: number }[] = [];
  /** The reads that {@link learned} returned. */
  #expected: ReadCoverage | undefined;
  /** Number of chunks noted since the start began: expected ones and others. */
  #hits = 0;
  #strays = 0;
  /** Offsets of the chunks noted so far, by blob. */
  readonly #seen = new Map<number, Set<number>>();

  constructor(bootstrapPath: string, private readonly parts: ReadRecorderParts) {
    this.#digest = sha256OfFile(bootstrapPath);
    this.#digest.catch(() => {}); // awaiting it reports the error
  }

  /**
   * Returns what earlier starts waited for.
   *
   * @param listed what the first start is expected to wait for
   */
  async learned(listed: () => BlobRange[] = () => []): Promise<BlobRange[]> {
    const known = await this.parts.learned.of(await this.#digest);
    const reads = known.length > 0 ? known : listed();
    this.#expected = new ReadCoverage(reads);
    this.#hits = this.#strays = 0;
    return reads;
  }

  /** Whether the current start resembles earlier ones: most of the chunks that it waits for were learned. */
  get isFollowing(): boolean {
    return this.#strays <= Math.max(MAX_STRAYS, this.#hits);
  }

  /** Marks the start of a container. */
  begin(): void {
    if (this.#isOpen || this.#stopping.signal.aborted) return;
    this.#isOpen = true;
    this.#hits = this.#strays = 0;
    this.#ended = Promise.all([this.#ended, this.#record()]);
  }

  /** Notes a chunk that a reader waits for, or that is fetched along with such a chunk. */
  note({ blobIndex, offset, length }: BlobRange): void {
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
    await this.parts.whenQuiet(SETTLED_MS, deadline.signal).catch(() => {}); // ended early: keep what was recorded
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
