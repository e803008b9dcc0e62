/**
 * A layer as the tar that it is: decompressed, compared with its digests.
 *
 * gzip and zstd are told by their first bytes, whatever the media type says; eStargz and zstd:chunked are ordinary gzip
 * and zstd here. Both digests are compared when the stream is over: what was made of it counts only then.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { ZstdError } from "../../../ffi/libzstd.ts";
import { zstdStream } from "../../../ffi/libzstd_stream.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { nodeZlib } from "../../base/node_modules.ts";
import { type Digest, digestAlgorithm } from "../../oci/digest.ts";
import { isZlibError, layerCompression } from "../source/bootstrap_layer_reader.ts";

/** What a layer has to be. */
export interface ExpectedLayer {
  /** For messages: "layer sha256:…". */
  readonly what: string;
  /** For messages: what it is read for. */
  readonly doing: "convert" | "compare";
  /** Of the bytes as stored. */
  readonly digest: Digest | undefined;
  /** Of the tar. */
  readonly diffId: Digest | undefined;
}

/**
 * The tar in pieces, each valid until the next is asked for.
 *
 * @throws {NydusGdError} "invalid-image" for damaged compression, "corrupt" for another digest; what `stored` throws
 */
export async function* tarOfLayer(
  stored: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { what, doing, digest, diffId }: ExpectedLayer,
): AsyncGenerator<Uint8Array> {
  const work = `${doing} ${what}`;
  const plain = new CheckedDigest(work, diffId, "is not the one of the configuration");
  for await (const piece of decompress(withDigest(stored, new CheckedDigest(work, digest, "differs")), work)) {
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

/** Bytes that are decompressed at once: each piece goes through a stream and two digests. */
const PIECE_BYTES = 64 << 10;

/** Compares bytes with a digest that they should have; with none where it is not known. */
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
  stored: AsyncGenerator<Uint8Array<ArrayBuffer>>,
  work: string,
): AsyncGenerator<Uint8Array> {
  const first = await stored.next();
  if (first.done) return;
  const whole = startingWith(first.value, stored);
  const compression = layerCompression(first.value);
  if (compression === "none") return yield* whole;
  try {
    yield* compression === "gzip" ? gunzipped(whole) : zstdStream(whole);
  } catch (error) {
    if (!isDamage(error)) throw error;
    throw new NydusGdError(
      "invalid-image",
      `Cannot ${work}: its ${compression} is damaged: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

async function* gunzipped(stored: AsyncGenerator<Uint8Array<ArrayBuffer>>): AsyncGenerator<Uint8Array> {
  const decoder = nodeZlib().createGunzip({ chunkSize: PIECE_BYTES });
  const input = Readable.from(stored);
  // an error of the input would not end the decoder by itself
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

/** What zlib and zstd say of their input. */
function isDamage(error: unknown): boolean {
  return error instanceof ZstdError || isZlibError(error);
}
