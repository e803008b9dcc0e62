import assert from "node:assert/strict";
import fc from "fast-check";
import { concatenate } from "../../base/bytes.ts";
import { HttpFormatError, type ResponseHead, ResponseParser } from "./response_parser.ts";

const bytesOf = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

interface Parsed {
  readonly head: ResponseHead | undefined;
  readonly body: string;
  readonly ended: number;
  readonly reusable: boolean;
}

/** Parses `pieces`, followed by the end of the connection. */
function parse(pieces: readonly Uint8Array[], method = "GET"): Parsed {
  let head: ResponseHead | undefined;
  const body: Uint8Array[] = [];
  let ended = 0;
  const parser = new ResponseParser(method, {
    head: (each) => {
      assert.equal(head, undefined, "one head");
      head = each;
    },
    data: (piece) => {
      assert.ok(head !== undefined && ended === 0, "data are between head and end");
      body.push(piece.slice());
    },
    end: () => ended++,
  });
  for (const piece of pieces) parser.push(piece);
  const { reusable } = parser;
  parser.finish();
  assert.equal(parser.complete, ended === 1);
  return { head, body: new TextDecoder("latin1").decode(concatenate(body)), ended, reusable };
}

const parseText = (text: string, method?: string) => parse([bytesOf(text)], method);

/** A response, and the expected result. */
const answer = fc.record({
  status: fc.constantFrom(200, 206, 404, 500),
  body: fc.string({ maxLength: 300, unit: "binary-ascii" }),
  framing: fc.constantFrom("length", "chunks", "close"),
  chunk: fc.integer({ min: 1, max: 40 }),
  interim: fc.boolean(),
}).map(({ status, body, framing, chunk, interim }) => {
  const parts = body.match(new RegExp(`[^]{1,${chunk}}`, "g")) ?? [];
  const fields = { length: `Content-Length: ${body.length}\r\n`, chunks: "Transfer-Encoding: chunked\r\n", close: "" };
  const coded = [...parts.map((part) => `${part.length.toString(16)};x=y\r\n${part}\r\n`), "0\r\nX-After: 1\r\n\r\n"];
  const text = (interim ? "HTTP/1.1 100 Continue\r\n\r\n" : "") +
    `HTTP/1.1 ${status} Some words\r\nX-One:  a \r\nx-one: b\r\n${fields[framing]}\r\n` +
    (framing === "chunks" ? coded.join("") : body);
  return { text, status, body, reusable: framing !== "close" };
});

Deno.test("a response parses the same however it is split into pieces", () => {
  fc.assert(fc.property(answer, fc.array(fc.nat(600)), ({ text, status, body, reusable }, cuts) => {
    const bytes = bytesOf(text);
    const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
    const parsed = parse(places.slice(1).map((end, i) => bytes.subarray(places[i], end)));
    assert.equal(parsed.head?.status, status);
    assert.equal(parsed.head?.headers.get("x-one"), "a, b");
    assert.deepEqual([parsed.body, parsed.ended, parsed.reusable], [body, 1, reusable]);
  }));
});

Deno.test("arbitrary bytes yield a response, a need for more input, or a NydusGdError", () => {
  const begin = fc.constantFrom("", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  fc.assert(fc.property(begin, fc.uint8Array({ maxLength: 200 }), (text, noise) => {
    try {
      parse([bytesOf(text), Uint8Array.from(noise)]);
    } catch (error) {
      assert.ok(error instanceof HttpFormatError, String(error));
    }
  }));
});

Deno.test("responses without a body end with their head", () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  assert.deepEqual(parseText(head, "HEAD").ended, 1);
  assert.deepEqual(parseText("HTTP/1.1 204 No Content\r\n\r\n").reusable, true);
  assert.deepEqual(parseText("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ended, 1);
  assert.deepEqual(parseText("HTTP/1.1 200 Connection established\r\n\r\n", "CONNECT").ended, 1);
});

Deno.test("a connection is reused only if both sides keep it and the response was complete", () => {
  const reusable = (text: string) => parseText(text).reusable;
  assert.equal(reusable("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), true);
  assert.equal(reusable("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc"), false);
  assert.equal(reusable("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"), false);
  assert.equal(reusable("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nab"), false);
  assert.equal(reusable("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab"), false);
  assert.equal(reusable("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab"), true);
});

Deno.test("ambiguous and malformed responses are refused", () => {
  const ok = "HTTP/1.1 200 OK\r\n";
  for (
    const text of [
      "SSH-2.0-x\r\n",
      "HTTP/2 200\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 1\n\n\r\n\r\n",
      `${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      `${ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`,
      `${ok}Content-Length: +1\r\n\r\n`,
      `${ok}Content-Length : 1\r\n\r\n`,
      `${ok}X: a\r\n b\r\n\r\n`,
      `${ok}Transfer-Encoding: chunked\r\n\r\n-1\r\n`,
      `${ok}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n`,
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ]
  ) {
    assert.throws(() => parseText(text), HttpFormatError, JSON.stringify(text));
  }
  const endless = () =>
    parse(Array<Uint8Array>(100).fill(bytesOf(`X: ${"x".repeat(9000)}\r\n`)).toSpliced(0, 0, bytesOf(ok)));
  assert.throws(endless, (error) => error instanceof HttpFormatError && error.code === "HPE_HEADER_OVERFLOW");
});
