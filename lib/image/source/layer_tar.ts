/**
 * Reads a layer as a tar: decompressed, with its digests verified.
 *
 * gzip and zstd are detected by their first bytes, regardless of the media type; eStargz and zstd:chunked are ordinary
 * gzip and zstd here. bzip2 and xz, which only Docker reads, are refused by name. Both digests are compared at the end of the stream; only then may the data be trusted.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { ZlibError } from "../../../ffi/libz.ts";
import { ZstdError } from "../../../ffi/libzstd.ts";
import { zstdStream } from "../../../ffi/libzstd_stream.ts";
import { toByteString } from "../../base/bytes.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { nodeZlib } from "../../base/node_modules.ts";
import { type Digest, digestAlgorithm } from "../../oci/digest.ts";
import { isZlibError, type LayerCompression, layerCompression } from "./bootstrap_layer_reader.ts";

/** Expected digests of a layer, and its name for messages. */
export interface ExpectedLayer {
  /** For messages: "layer sha256:…". */
  readonly what: string;
  /** For messages: the purpose of reading it. */
  readonly doing: "convert" | "compare";
  /** Digest of the bytes as stored. */
  readonly digest: Digest | undefined;
  /** Digest of the tar. */
  readonly diffId: Digest | undefined;
}

type Stored = AsyncGenerator<Uint8Array<ArrayBuffer>>;

/** Decompresses a layer. */
export type LayerDecoder = (stored: Stored, compression: LayerCompression) => AsyncGenerator<Uint8Array>;

/**
 * Yields the tar in pieces, each valid until the next is requested.
 *
 * @param decode in place of the usual decoders
 * @throws {NydusGdError} "invalid-image" for damaged compression, "unsupported" for another one than gzip and zstd, and
 * for zstd with a window that is too large or with a dictionary, "corrupt" for a digest mismatch; what `stored` throws
 */
export async function* tarOfLayer(
  stored: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { what, doing, digest, diffId }: ExpectedLayer,
  decode: LayerDecoder = decoded,
): AsyncGenerator<Uint8Array> {
  const work = `${doing} ${what}`;
  const plain = new CheckedDigest(work, diffId, "is not the one of the configuration");
  for await (const piece of decompress(withDigest(stored, new CheckedDigest(work, digest, "differs")), decode, work)) {
    plain.update(piece);
    yield piece;
  }
  plain.check();
}

async function* withDigest(
  pieces: AsyncIterable<Uint8Array<ArrayBuffer>>,
  digest: CheckedDigest,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for await (const piece of pieces) {
    digest.update(piece);
    yield piece;
  }
  digest.check();
}

/** Bytes decompressed at a time: each piece passes a stream and two digests. */
const PIECE_BYTES = 64 << 10;

/** Verifies bytes against an expected digest, if there is one. */
class CheckedDigest {
  readonly #hash;

  constructor(
    private readonly work: string,
    private readonly expected: Digest | undefined,
    private readonly state: string,
  ) {
    this.#hash = expected === undefined ? undefined : createHash(digestAlgorithm(expected));
  }

  update(bytes: Uint8Array): void {
    this.#hash?.update(bytes);
  }

  /** @throws {NydusGdError} "corrupt" */
  check(): void {
    if (this.expected === undefined || this.#hash === undefined) return;
    const actual = `${digestAlgorithm(this.expected)}:${this.#hash.digest("hex")}`;
    if (actual === this.expected) return;
    throw new NydusGdError(
      "corrupt",
      `Cannot ${this.work}: its digest ${actual} ${this.state}, ${this.expected}`,
    );
  }
}

async function* decompress(
  stored: Stored,
  decode: LayerDecoder,
  work: string,
): AsyncGenerator<Uint8Array> {
  const first = await stored.next();
  if (first.done) return;
  refuseForeignCompression(first.value, work);
  const whole = startingWith(first.value, stored);
  const compression = layerCompression(first.value);
  try {
    yield* decode(whole, compression);
  } catch (error) {
    if (!isDamage(error)) throw error;
    throw unreadable(`${work}: its ${compression}`, error);
  }
}

/** What Docker decompresses as well, but images must not have: the first bytes. */
const FOREIGN_COMPRESSIONS = [["bzip2", /^BZh[1-9]1AY&SY/], ["xz", /^\xfd7zXZ\0/]] as const;

/**
 * Refuses data in a compression that is known, but not read.
 *
 * @param head its beginning
 * @param work for messages: "convert layer sha256:…"
 * @throws {NydusGdError} "unsupported"
 */
export function refuseForeignCompression(head: Uint8Array, work: string): void {
  const text = toByteString(head.subarray(0, 10));
  for (const [name, magic] of FOREIGN_COMPRESSIONS) {
    if (!magic.test(text)) continue;
    const hint = "compress it with gzip or zstd, or not at all";
    throw new NydusGdError("unsupported", `Cannot ${work}: its compression is ${name}, expected gzip or zstd`, {
      hint,
    });
  }
}

function decoded(stored: Stored, compression: LayerCompression): AsyncGenerator<Uint8Array> {
  if (compression === "none") return stored;
  return compression === "gzip" ? gunzipped(stored) : zstdStream(stored);
}

/** Translates an error of {@link isDamage}. @param what "convert layer sha256:…: its zstd" */
function unreadable(what: string, error: Error): NydusGdError {
  const options = { cause: error };
  const state = messageOf(error).replace(/^C/, "c");
  if (!(error instanceof ZstdError && error.isUnsupported)) {
    return new NydusGdError("invalid-image", `Cannot ${what} is damaged: ${state}`, options);
  }
  const hint = "compress the layer again without a dictionary, and with a window of at most 512 MiB (zstd --long=29)";
  return new NydusGdError("unsupported", `Cannot ${what} is of an unsupported kind: ${state}`, {
    ...options,
    hint,
  });
}

async function* gunzipped(stored: AsyncGenerator<Uint8Array<ArrayBuffer>>): AsyncGenerator<Uint8Array> {
  const decoder = nodeZlib().createGunzip({ chunkSize: PIECE_BYTES });
  const input = Readable.from(stored);
  // an input error alone would not end the decoder
  input.on("error", (error) => decoder.destroy(error));
  try {
    for await (const piece of input.pipe(decoder)) yield piece as Uint8Array;
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

async function* startingWith<T>(first: T, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

/** Whether it is an error of zlib or zstd about their input. */
function isDamage(error: unknown): error is Error {
  return error instanceof ZstdError || error instanceof ZlibError || isZlibError(error);
}
