import assert from "node:assert/strict";
import { requestBytes } from "./request_bytes.ts";
import type { ProxyRoute } from "./proxy.ts";

const PROXY: ProxyRoute = {
  proxy: { name: "p:3128", hostname: "p", port: 3128, secure: false, authorization: "Basic eDp5", remedy: "" },
  headers: { "x-for-proxy": "1" },
};
const textOf = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);

Deno.test("a host is requested by path, a proxy by URL, and only the proxy receives its headers", () => {
  const url = new URL("http://registry.example:5000/v2/a?b=c%20d#e");
  const direct = textOf(requestBytes({ method: "GET", url, headers: { range: "bytes=0-1" } }, undefined));
  assert.match(direct, /^GET \/v2\/a\?b=c%20d HTTP\/1\.1\r\nhost: registry\.example:5000\r\n/);
  assert.match(direct, /\r\nrange: bytes=0-1\r\n\r\n$/);
  const proxied = textOf(requestBytes({ method: "GET", url }, PROXY));
  assert.match(proxied, /^GET http:\/\/registry\.example:5000\/v2\/a\?b=c%20d HTTP\/1\.1\r\n/);
  assert.match(proxied, /\r\nx-for-proxy: 1\r\nproxy-authorization: Basic eDp5\r\n/);
  const tunnelled = textOf(requestBytes({ method: "GET", url: new URL("https://registry.example/v2/") }, PROXY));
  assert.match(tunnelled, /^GET \/v2\/ HTTP\/1\.1\r\nhost: registry\.example\r\n/);
  assert.doesNotMatch(tunnelled, /proxy/);
});

Deno.test("a body is sent with its length in bytes", () => {
  const text = textOf(requestBytes({ method: "POST", url: new URL("http://h/"), body: "ä=1" }, undefined));
  assert.match(text, /\r\ncontent-length: 4\r\n\r\n\xc3\xa4=1$/);
});

Deno.test("header values cannot inject further headers", () => {
  const send = (headers: Record<string, string>) => () =>
    requestBytes({ method: "GET", url: new URL("http://h/"), headers }, undefined);
  assert.throws(send({ "x-a": "1\r\nx-b: 2" }), TypeError);
  assert.throws(send({ "x-a\r\nx-b": "1" }), TypeError);
  assert.throws(send({ "x-a": "\u0100" }), TypeError);
});
