import assert from "node:assert/strict";
import { hasCode } from "../../base/errors.ts";
import { type Environment, EnvironmentProxy } from "./environment_proxy.ts";

const BOTH = { HTTPS_PROXY: "http://secure:3128", HTTP_PROXY: "plain:8080" };

function nameFor(url: string, environment: Environment): string | undefined {
  return new EnvironmentProxy(environment).proxyFor(new URL(url))?.name;
}

Deno.test("the scheme of a URL selects the variable, upper case before lower case", () => {
  assert.equal(nameFor("https://r.example.com/", BOTH), "secure:3128");
  assert.equal(nameFor("http://r.example.com/", BOTH), "plain:8080");
  assert.equal(nameFor("https://r.example.com/", { http_proxy: "plain:1" }), undefined);
  assert.equal(nameFor("https://r.example.com/", { https_proxy: "https://small" }), "small:443");
  assert.equal(nameFor("https://r.example.com/", { HTTPS_PROXY: "", https_proxy: "small" }), "small:80");
  assert.equal(nameFor("https://r.example.com/", { HTTPS_PROXY: "a:1", https_proxy: "b:1" }), "a:1");
  assert.equal(nameFor("https://r.example.com/", {}), undefined);
});

Deno.test("loopback addresses are never requested through a proxy", () => {
  for (const host of ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"]) {
    assert.equal(nameFor(`https://${host}/`, BOTH), undefined, host);
  }
});

const EXCEPTIONS: readonly [noProxy: string, direct: readonly string[], proxied: readonly string[]][] = [
  ["*", ["https://a", "http://1.2.3.4", "https://[fd00::1]"], []],
  ["example.com", ["https://example.com", "https://r.EXAMPLE.com:5000"], ["https://notexample.com", "https://com"]],
  [".example.com", ["https://r.example.com"], ["https://example.com"]],
  ["*.example.com", ["https://r.example.com"], ["https://example.com"]],
  ["r.io:5000", ["https://r.io:5000", "https://a.r.io:5000"], ["https://r.io", "https://r.io:5001"]],
  ["r.io:443", ["https://r.io"], ["http://r.io"]],
  ["10.0.0.0/8", ["https://10.1.2.3:5000"], ["https://11.1.2.3", "https://10.example.com"]],
  ["fd00::/8", ["https://[fd12::1]:5000"], ["https://[fe80::1]"]],
  ["192.168.1.7", ["https://192.168.1.7", "https://192.168.1.7:5000"], ["https://192.168.1.8"]],
  ["192.168.1.7:5000", ["https://192.168.1.7:5000"], ["https://192.168.1.7"]],
  ["fd00::1", ["https://[fd00::1]:5000"], ["https://[fd00::2]"]],
  ["[fd00::1]:5000", ["https://[fd00::1]:5000"], ["https://[fd00::1]"]],
  [" a.io , ,b.io c.io", ["https://a.io", "https://b.io", "https://c.io"], ["https://d.io"]],
];
for (const [noProxy, direct, proxied] of EXCEPTIONS) {
  Deno.test(`NO_PROXY=${noProxy}`, () => {
    const environment = { ...BOTH, NO_PROXY: noProxy };
    for (const url of direct) assert.equal(nameFor(url, environment), undefined, url);
    for (const url of proxied) assert.notEqual(nameFor(url, environment), undefined, url);
    const small = { ...BOTH, no_proxy: noProxy };
    for (const url of direct) assert.equal(nameFor(url, small), undefined, url);
  });
}

Deno.test("an invalid proxy variable is refused by its name, without showing its value", () => {
  for (const value of ["socks5://u:s3cret@p:1080", "http://", "http://u:s3cret@[p", "::"]) {
    assert.throws(
      () => new EnvironmentProxy({ https_proxy: value }),
      (error) => hasCode(error, "config") && /https_proxy/.test(error.message) && !error.message.includes("s3cret"),
      value,
    );
  }
});
