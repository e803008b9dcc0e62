import assert from "node:assert/strict";
import fc from "fast-check";
import { NydusGdError } from "../base/errors.ts";
import { familiarReference, formatReference, isRegistryHost, manifestName, parseReference } from "./reference.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;

Deno.test("references are completed as Docker does", () => {
  const cases: [text: string, complete: string, familiar: string][] = [
    ["nginx", "docker.io/library/nginx:latest", "nginx:latest"],
    ["nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"],
    ["bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"],
    ["docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"],
    ["index.docker.io/library/nginx:1", "docker.io/library/nginx:1", "nginx:1"],
    ["localhost/app", "localhost/app:latest", "localhost/app:latest"],
    ["localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"],
    ["127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "127.0.0.1:5000/a/b/c:latest"],
    ["[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"],
    ["r.example.com/a__b/c-d.e:T_1", "r.example.com/a__b/c-d.e:T_1", "r.example.com/a__b/c-d.e:T_1"],
    ["UPPER/app", "UPPER/app:latest", "UPPER/app:latest"],
    [`nginx@${DIGEST}`, `docker.io/library/nginx@${DIGEST}`, `nginx@${DIGEST}`],
    [`nginx:1@${DIGEST}`, `docker.io/library/nginx:1@${DIGEST}`, `nginx:1@${DIGEST}`],
  ];
  for (const [text, complete, familiar] of cases) {
    const reference = parseReference(text);
    assert.equal(formatReference(reference), complete, text);
    assert.equal(familiarReference(reference), familiar, text);
    assert.deepEqual(parseReference(complete), reference, text);
  }
});

Deno.test("a manifest is requested by its digest if there is one", () => {
  assert.equal(manifestName(parseReference("a")), "latest");
  assert.equal(manifestName(parseReference("a:1")), "1");
  assert.equal(manifestName(parseReference(`a:1@${DIGEST}`)), DIGEST);
});

Deno.test("malformed references are refused with the reason", () => {
  const cases: [text: string, state: RegExp][] = [
    ["", /it is empty/],
    ["Nginx", /upper-case/],
    ["a:", /tag is malformed/],
    ["a:-x", /tag is malformed/],
    ["a@sha256:12", /digest is malformed/],
    ["a@", /digest is malformed/],
    ["a//b", /repository is malformed/],
    ["../etc", /host is malformed|repository is malformed/],
    ["h.example.com/", /repository is malformed/],
    ["h.example.com:port/a", /host is malformed/],
    ["-h.example.com/a", /host is malformed/],
    ["h.example.com:65536/a", /host is malformed/],
    ["[::10000]/a", /host is malformed/],
    ["https://h/a", /it is a URL/],
    ["a b", /repository is malformed/],
    ["user@h/a", /digest is malformed/],
    ["0123456789abcdef".repeat(4), /image id/],
    ["a/".repeat(200) + "a", /repository is malformed/],
  ];
  for (const [text, state] of cases) assert.throws(() => parseReference(text), state, text);
  assert.throws(() => parseReference("https://h.example.com/a"), { hint: "leave https:// out" });
});

Deno.test("a parsed reference is safe in a URL, and formats to the same text", () => {
  const piece = fc.constantFrom(
    "a",
    "B",
    "0",
    ".",
    "-",
    "_",
    "/",
    ":",
    "@",
    "localhost",
    "[",
    "]",
    "..",
    "%",
    "?",
    DIGEST,
  );
  fc.assert(fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
    try {
      const reference = parseReference(pieces.join(""));
      const url = new URL(`https://${reference.host}/v2/${reference.repository}/manifests/${manifestName(reference)}`);
      assert.equal(url.pathname, `/v2/${reference.repository}/manifests/${manifestName(reference)}`);
      assert.ok(isRegistryHost(reference.host));
      assert.deepEqual(parseReference(formatReference(reference)), reference);
    } catch (error) {
      if (error instanceof TypeError && error.message.includes("Invalid URL")) return;
      if (!(error instanceof NydusGdError)) throw error;
    }
  }));
});
