/**
 * Incremental parser of the response to one HTTP/1.1 request.
 *
 * ```
 * status line │ fields │ empty line │ body: a given length, chunks, or until the connection ends
 * ```
 * Interim responses (1xx) are skipped. The parser is strict where leniency would let two parsers see different
 * responses: lines end with CR LF, field names are tokens, two lengths must agree, and a length together with chunked
 * coding is an error. Pieces of the body are views of the pushed bytes. Source: RFC 9112.
 *
 * @throws {HttpFormatError} for a malformed response; the connection is then unusable
 * @module
 */

/** "HPE_INVALID": not HTTP. "HPE_HEADER_OVERFLOW": the head is too long. */
export class HttpFormatError extends Error {
  override readonly name = "HttpFormatError";
  constructor(readonly code: "HPE_INVALID" | "HPE_HEADER_OVERFLOW", state: string) {
    super(state);
  }
}

/** Status and fields of a response. */
export interface ResponseHead {
  readonly status: number;
  /** By lower-case name; repeated list fields are joined with commas. */
  readonly headers: ReadonlyMap<string, string>;
}

/** Receives one head, then pieces of data, then one end. */
export interface ResponseHandler {
  head(head: ResponseHead): void;
  data(piece: Uint8Array): void;
  /** Returns the memory for the next bytes of the body; undefined: no preference. */
  place?(): Uint8Array | undefined;
  end(): void;
}

/** Maximum bytes of the head, and of a trailer line. */
const MAX_HEAD_BYTES = 64 * 1024;

/** Maximum bytes of a chunk's size line. */
const MAX_CHUNK_LINE_BYTES = 1024;

const CR_LF = [13, 10] as const;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\r\n\0]*)?$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/;
const CHUNK_LINE = /^([0-9A-Fa-f]{1,13})[ \t]*(?:;[^\r\n\0]*)?$/;

/** Fields that are not lists: the first one counts. */
const SINGLE = new Set(["content-length", "content-range", "content-type", "etag", "location", "retry-after"]);

type State = "head" | "counted" | "until-close" | "chunk-line" | "chunk" | "chunk-end" | "trailer" | "done";

/** Parses the response to one request. */
export class ResponseParser {
  #state: State = "head";
  /** Bytes of an incomplete line or head. */
  #held = new Uint8Array(0);
  /** Bytes still missing from the body or the chunk. */
  #left = 0;
  #keepAlive = false;

  /** @param method of the request: the response to a HEAD has no body, whatever its fields say */
  constructor(private readonly method: string, private readonly handler: ResponseHandler) {}

  /** Whether the response is complete. */
  get complete(): boolean {
    return this.#state === "done";
  }

  /** Whether the connection can carry another request: the response is complete, and neither side closes. */
  get reusable(): boolean {
    return this.complete && this.#keepAlive;
  }

  /** Parses the next bytes of the connection. */
  push(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) rest = this.#step(rest);
  }

  /**
   * Returns the memory for the next bytes, limited to those that certainly belong to the body; undefined: no
   * preference.
   */
  place(): Uint8Array | undefined {
    if (this.#state !== "counted" && this.#state !== "chunk") return undefined;
    return this.handler.place?.()?.subarray(0, this.#left);
  }

  /** Handles the end of the connection, which completes a response without a length. */
  finish(): void {
    if (this.#state === "until-close") this.#done();
  }

  /** Consumes a prefix of `bytes` and returns the rest. */
  #step(bytes: Uint8Array): Uint8Array {
    switch (this.#state) {
      case "head":
        return this.#lines(bytes, [...CR_LF, ...CR_LF], MAX_HEAD_BYTES, (text) => this.#head(text));
      case "counted":
      case "chunk": {
        const piece = bytes.subarray(0, this.#left);
        this.#left -= piece.length;
        this.handler.data(piece);
        if (this.#left === 0) {
          if (this.#state === "chunk") this.#state = "chunk-end";
          else this.#done();
        }
        return bytes.subarray(piece.length);
      }
      case "until-close":
        this.handler.data(bytes);
        return bytes.subarray(bytes.length);
      case "chunk-line":
        return this.#lines(bytes, CR_LF, MAX_CHUNK_LINE_BYTES, (line) => this.#chunkLine(line));
      case "chunk-end":
        return this.#lines(bytes, CR_LF, CR_LF.length, () => this.#state = "chunk-line");
      case "trailer":
        return this.#lines(bytes, CR_LF, MAX_HEAD_BYTES, (line) => {
          if (line === "") this.#done();
        });
      case "done":
        // Excess bytes must not reach the next request's parser.
        this.#keepAlive = false;
        return bytes.subarray(bytes.length);
    }
  }

  /** Collects bytes through `end`, and passes what precedes it to `take`. */
  #lines(bytes: Uint8Array, end: readonly number[], most: number, take: (text: string) => void): Uint8Array {
    const all = new Uint8Array(this.#held.length + bytes.length);
    all.set(this.#held);
    all.set(bytes, this.#held.length);
    const at = indexOf(all, end, Math.max(0, this.#held.length - end.length));
    if ((at < 0 ? all.length : at + end.length) > most) {
      throw new HttpFormatError(this.#state === "head" ? "HPE_HEADER_OVERFLOW" : "HPE_INVALID", "a line is too long");
    }
    if (at < 0) {
      if (this.#state === "head" && !mayBegin(all)) throw invalid("it does not begin with HTTP/1");
      this.#held = all;
      return bytes.subarray(bytes.length);
    }
    const taken = at + end.length - this.#held.length;
    this.#held = new Uint8Array(0);
    take(LATIN1.decode(all.subarray(0, at)));
    return bytes.subarray(taken);
  }

  #head(text: string): void {
    const [statusLine = "", ...lines] = text.split("\r\n");
    const [, minor, digits] = STATUS_LINE.exec(statusLine) ?? [];
    if (digits === undefined) throw invalid("its status line is malformed");
    const status = Number(digits);
    const headers = fieldsOf(lines);
    if (status < 200) {
      if (status === 101) throw invalid("it changes the protocol");
      return;
    }
    const connection = (headers.get("connection") ?? "").toLowerCase().split(",").map((option) => option.trim());
    this.#keepAlive = minor === "1" ? !connection.includes("close") : connection.includes("keep-alive");
    this.#frame(status, headers);
    this.handler.head({ status, headers });
    if (this.#state === "counted" && this.#left === 0) this.#done();
  }

  /** Determines how the body is delimited. */
  #frame(status: number, headers: ReadonlyMap<string, string>): void {
    const coding = headers.get("transfer-encoding"), length = headers.get("content-length");
    const isTunnel = this.method === "CONNECT" && status < 300;
    this.#left = 0;
    this.#state = "counted";
    if (this.method === "HEAD" || isTunnel || status === 204 || status === 304) return;
    if (coding !== undefined) {
      if (coding.toLowerCase() !== "chunked" || length !== undefined) throw invalid("the end of its body is not known");
      this.#state = "chunk-line";
    } else if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw invalid("its length is not a number");
      this.#left = Number(length);
    } else {
      this.#state = "until-close";
      this.#keepAlive = false;
    }
  }

  #chunkLine(line: string): void {
    const digits = CHUNK_LINE.exec(line)?.[1];
    if (digits === undefined) throw invalid("a chunk has no length");
    this.#left = Number.parseInt(digits, 16);
    this.#state = this.#left === 0 ? "trailer" : "chunk";
  }

  #done(): void {
    this.#state = "done";
    this.handler.end();
  }
}

const LATIN1 = new TextDecoder("latin1");

function invalid(state: string): HttpFormatError {
  return new HttpFormatError("HPE_INVALID", state);
}

function fieldsOf(lines: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = FIELD.exec(line) ?? [];
    if (name === undefined) throw invalid("a header field is malformed");
    const key = name.toLowerCase();
    const before = fields.get(key);
    if (before === undefined) fields.set(key, value);
    else if (!SINGLE.has(key)) fields.set(key, `${before}, ${value}`);
    else if (key === "content-length" && before !== value) throw invalid("it has two lengths");
  }
  return fields;
}

function indexOf(bytes: Uint8Array, end: readonly number[], from: number): number {
  const [first = 0] = end;
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (end.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

/** Whether `bytes` can start a response; detects peers of another protocol without waiting for a whole head. */
function mayBegin(bytes: Uint8Array): boolean {
  const begin = "HTTP/1.";
  for (let i = 0; i < Math.min(begin.length, bytes.length); i++) if (bytes[i] !== begin.charCodeAt(i)) return false;
  return true;
}
