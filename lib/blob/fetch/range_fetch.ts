/**
 * One range request of a blob, from its start until every chunk in it is decoded.
 *
 * ```
 *  response │ wanted │ neighbour │ neighbour │ wanted │ neighbour │   arrives from left to right
 *           └► decoded at once   └► decoded with what follows, at the latest when complete
 * ```
 * A chunk that a reader waits for is decoded as soon as its last byte arrives, whatever follows it. The rest is decoded
 * in pieces of {@link PIECE_BYTES}, so that a long response is processed while it arrives. Chunks from a response that
 * fails later count, as each is verified by itself. Wrong chunks are reported when the response is complete, since only
 * then a source knows whom to ask the next time.
 *
 * @module
 */
import { RunningTasks } from "../../base/running_tasks.ts";
import type { BorrowedMemory, ResponseBuffers } from "./response_buffers.ts";
import type { WithRoom } from "../cache/cache_space.ts";
import type { ChunkFailure, DecodeTarget } from "../decode/chunk_decoder.ts";
import type { Decoder } from "../decode/decoder.ts";
import { toPriority } from "./fetch_queue.ts";
import type { Flight, RunningRequest } from "./flight.ts";
import type { LinkEstimate } from "./link_estimate.ts";
import type { PlannedRequest } from "./planner.ts";
import type { Readiness } from "../cache/readiness.ts";
import type { BlobSources } from "./sources.ts";

/** Stored bytes of read-ahead after which they are decoded. */
const PIECE_BYTES = 512 * 1024;

/** Dependencies of a fetch. */
export interface RangeFetchParts {
  readonly target: DecodeTarget;
  readonly readiness: Readiness;
  readonly sources: BlobSources;
  readonly decoder: Decoder;
  readonly link: LinkEstimate;
  readonly memory: ResponseBuffers;
  /** Runs a write of plain bytes to the cache once there is space for them. */
  readonly room: WithRoom;
}

/** What to request, and for whom. */
export interface RangeFetchSubject {
  readonly plan: PlannedRequest;
  /** Flights of `plan.units`, in the same order. */
  readonly flights: readonly Flight[];
  /** The flight for which the request is made. */
  readonly first: Flight;
  /** Called when it waits for what another request transfers. */
  readonly onWait: () => void;
}

/** Receives the outcome of each flight, once. */
export interface RangeFetchEvents {
  /** The flight was decoded; `failures` contains its chunks that are not ready. */
  decoded(flight: Flight, failures: readonly ChunkFailure[]): void;
  /** These flights were not decoded. */
  failed(flights: readonly Flight[], error: unknown): void;
}

/** A request in flight. */
export class RangeFetch implements RunningRequest {
  readonly controller = new AbortController();
  reading = true;
  readonly #plan: PlannedRequest;
  readonly #first: Flight;
  readonly #onWait: () => void;
  #flights: readonly Flight[];
  readonly #decoding = new RunningTasks();
  /** Reported when the response is complete. */
  readonly #wrong: { readonly flight: Flight; readonly failures: readonly ChunkFailure[] }[] = [];

  constructor(
    private readonly parts: RangeFetchParts,
    private readonly events: RangeFetchEvents,
    { plan, flights, first, onWait }: RangeFetchSubject,
  ) {
    this.#plan = plan;
    this.#first = first;
    this.#onWait = onWait;
    this.#flights = flights;
    for (const flight of flights) {
      flight.state = "running";
      flight.request = this;
    }
  }

  get flights(): readonly Flight[] {
    return this.#flights;
  }

  /** Reads and decodes. Never rejects. */
  async run(): Promise<void> {
    using memory = this.parts.memory.borrow();
    try {
      const bytes = await this.#read(memory);
      const { awaited, others } = parted(this.#handOver());
      this.#decode(awaited, bytes);
      this.#decode(others, bytes);
    } catch (error) {
      this.events.failed(this.#handOver(), error);
    }
    await this.#decoding.settled();
    for (const { flight, failures } of this.#wrong) this.events.decoded(flight, failures);
  }

  async #read(memory: BorrowedMemory): Promise<Uint8Array> {
    const { sources, link } = this.parts;
    const { offset, length } = this.#plan;
    try {
      return await link.timed((progress) => {
        const onProgress = (bytes: Uint8Array, filled: number) => {
          progress(filled);
          this.#decodeArrived(bytes, filled);
        };
        const priority = toPriority(this.#first.urgency), { signal } = this.controller;
        const options = { priority, signal, onProgress, memory: memory.take, onWait: this.#onWait };
        return sources.read(offset, length, options, this.#first.corruptResponses);
      });
    } finally {
      this.reading = false;
    }
  }

  /** Decodes what it can when the first `filled` bytes have arrived. */
  #decodeArrived(bytes: Uint8Array, filled: number): void {
    if (!this.reading || filled >= this.#plan.length) return;
    const end = this.#plan.offset + filled;
    const incomplete = this.#flights.findIndex((flight) => this.#place(flight).end > end);
    const { awaited, others } = parted(this.#flights.slice(0, incomplete < 0 ? undefined : incomplete));
    const [first] = others;
    const isPiece = first !== undefined && end - this.#place(first).start >= PIECE_BYTES;
    if (awaited.length === 0 && !isPiece) return;
    const coming = incomplete < 0 ? [] : this.#flights.slice(incomplete);
    this.#flights = isPiece ? coming : [...others, ...coming];
    this.#decode(awaited, bytes);
    if (isPiece) this.#decode(others, bytes);
  }

  /** Takes the remaining flights; the outcome of the request no longer affects them. */
  #handOver(): readonly Flight[] {
    const flights = this.#flights;
    this.#flights = [];
    return flights;
  }

  /** Starts to decode flights whose bytes have arrived in `bytes`, which stays in use. */
  #decode(flights: readonly Flight[], bytes: Uint8Array): void {
    if (flights.length === 0) return;
    for (const flight of flights) flight.request = undefined;
    const places = flights.map((flight) => this.#place(flight));
    const start = Math.min(...places.map(({ start }) => start)), end = Math.max(...places.map(({ end }) => end));
    const { offset } = this.#plan;
    const decoding = this.#decoded(flights, bytes.subarray(start - offset, end - offset), start)
      .catch((error) => this.events.failed(flights, error));
    this.#decoding.add(decoding);
  }

  /** @param bytes bytes of the blob from `offset` on */
  async #decoded(flights: readonly Flight[], bytes: Uint8Array, offset: number): Promise<void> {
    const { target, readiness, decoder, room } = this.parts;
    const rows = flights.flatMap((flight) => flight.rows);
    const priority = flights.some(({ urgency }) => urgency === "on-demand") ? "on-demand" : "prefetch";
    const plainBytes = rows.reduce((sum, row) => sum + (target.columns.uncompressedSize[row] as number), 0);
    const { epoch } = readiness;
    const failures = await room(plainBytes, () => decoder.decode(target, { rows, stored: bytes, offset }, priority));
    readiness.add(rows.filter((row) => readiness.isReady(row)), epoch);
    for (const flight of flights) {
      const own = failures.length === 0 ? failures : failures.filter(({ row }) => flight.rows.includes(row));
      if (this.reading && own.some(({ code }) => code === "corrupt")) this.#wrong.push({ flight, failures: own });
      else this.events.decoded(flight, own);
    }
  }

  /** Range of the stored bytes of a flight in the blob. */
  #place({ rows: [row = 0] }: Flight): { readonly start: number; readonly end: number } {
    const { compressedOffset, compressedSize } = this.parts.target.columns;
    const start = compressedOffset[row] as number;
    return { start, end: start + (compressedSize[row] as number) };
  }
}

function isAwaited({ urgency }: Flight): boolean {
  return urgency === "on-demand";
}

function parted(flights: readonly Flight[]): { awaited: Flight[]; others: Flight[] } {
  return { awaited: flights.filter(isAwaited), others: flights.filter((flight) => !isAwaited(flight)) };
}
