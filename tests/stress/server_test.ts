/**
 * Fuzzes data from servers, helper programs and Docker's records: challenges, ranges, credentials, records.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseLayerSources } from "../../lib/backend/docker_metadata.ts";
import { parseContentRange } from "../../lib/backend/http/content_range.ts";
import { parseChallenges } from "../../lib/backend/registry/challenge.ts";
import { parseHelperOutput } from "../../lib/backend/registry/credential_helper.ts";
import { isLoopback } from "../../lib/backend/http/loopback.ts";
import { DockerKeychain } from "../../lib/backend/registry/keychain.ts";
import { getToken, parseTokenResponse, postToken } from "../../lib/backend/registry/token_protocol.ts";
import { isRegistryHost } from "../../lib/oci/reference.ts";
import { basic } from "../support/backend/credentials.ts";
import { maybe, sequence, withGrammar } from "../support/fuzz/grammar.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";

const HOST = "registry.example.com:5000";
const SECRET = "hunter2-in-clear";

const BEARER = 'Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,push"';
const token = fc.constantFrom("Bearer", "basic", "Negotiate", "realm", "x", "a b", "=", "");
const parameter = sequence(
  token,
  fc.constantFrom("=", " = ", "", "=="),
  fc.oneof(
    fc.string().map((text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`),
    fc.string({ maxLength: 8 }),
    fc.constant('"'),
  ),
);
const challenge = sequence(
  token,
  maybe(fc.constant(" ")),
  fc.array(parameter, { maxLength: 4 }).map((list) => list.join(",")),
);

fuzz(import.meta, {
  name: "challenges",
  inputs: () =>
    withGrammar(
      fc.array(challenge, { maxLength: 4 }).map((list) => list.join(", ")),
      new TextMutator([BEARER, 'Basic realm="a\\"b,c"', `Negotiate abc==, ${BEARER}`], {
        words: ['"', "\\", ",", "=", "Bearer ", "\\".repeat(300), '="', " ".repeat(400), "a=,"],
      }),
    ),
  // the parser promises: text that is not a challenge ends the list, it never throws
  open: () => (header) => {
    for (const { scheme, parameters } of parseChallenges(header)) {
      assert.ok(scheme !== "" && scheme === scheme.toLowerCase());
      for (const [name, value] of parameters) {
        assert.ok(name !== "" && name === name.toLowerCase() && value.length <= header.length);
      }
    }
  },
});

fuzz(import.meta, {
  name: "requests to token servers",
  inputs: () =>
    new TextMutator([BEARER, 'Bearer realm="http://127.0.0.1:5000/token?a=b#c",scope="x"'], {
      words: ["realm=", "https://", "http://u:p@h/", "/..", "?", "#", "&", "scope=", "service=", "%00", "\n"],
    }),
  open: () => (header) => {
    for (const { parameters } of parseChallenges(header)) {
      const realm = URL.parse(parameters.get("realm") ?? "");
      if (realm === null) continue;
      const grant = { realm, service: parameters.get("service"), scope: parameters.get("scope") ?? "" };
      const get = getToken(grant, basic("user", SECRET));
      const post = postToken(grant, { password: SECRET });
      // the challenge must not change the realm's host and path
      assert.deepEqual([get.url.origin, get.url.pathname, post.url.href], [realm.origin, realm.pathname, realm.href]);
      assert.equal(get.url.searchParams.get("scope"), grant.scope.toWellFormed());
      assert.ok(!get.url.href.includes(SECRET) && !post.url.href.includes(SECRET));
      assert.equal(new URLSearchParams(String(post.body)).get("scope"), grant.scope.toWellFormed());
    }
  },
});

fuzz(import.meta, {
  name: "token answers",
  inputs: () =>
    new TextMutator([
      JSON.stringify({ token: SECRET, expires_in: 300, issued_at: "2026-01-01T00:00:00Z" }),
      JSON.stringify({ access_token: SECRET, expires_in: 60, refresh_token: SECRET, scope: "repository:a/b:pull" }),
    ], { json: true, words: ["token", "access_token", "expires_in", "refresh_token", "\r\n", " "] }),
  open: () => (text) => {
    try {
      const { value, lifetimeMs, identityToken } = parseTokenResponse(text, "auth.example.com");
      assert.match(value, /^[\x21-\x7e]+$/);
      assert.ok(lifetimeMs >= 0 && identityToken !== "");
      new Headers({ authorization: `Bearer ${value}` });
    } catch (error) {
      assert.ok(!String(error).includes(SECRET.slice(0, 7)), String(error));
      throw error;
    }
  },
});

fuzz(import.meta, {
  name: "Content-Range",
  inputs: () =>
    withGrammar(
      sequence(
        fc.constantFrom("bytes ", "bytes", " Bytes  ", "items "),
        fc.nat().map(String),
        fc.constantFrom("-", "", "--"),
        fc.nat().map(String),
        fc.constantFrom("/", ""),
        fc.oneof(fc.nat().map(String), fc.constantFrom("*", "", "-1", "1e3")),
      ),
      new TextMutator(["bytes 0-65535/1048576", "bytes 5-5/*", "bytes */1234"], { words: ["-", "/", "*", "bytes"] }),
    ),
  open: () => (header) => {
    const range = parseContentRange(header);
    if (range === undefined) return;
    const { first, last, total } = range;
    assert.ok(Number.isSafeInteger(first) && first >= 0 && last >= first && (total === undefined || last < total));
    assert.ok(header.toLowerCase().trim().startsWith("bytes"));
  },
});

fuzz(import.meta, {
  name: "hosts",
  inputs: () =>
    new TextMutator(["docker.io", "localhost:5000", "127.0.0.1", "[::1]:80", "a-b.c:1"], {
      words: [":", ".", "-", "[", "]", "@", "#", "?", "\\", "localhost", "127.1"],
    }),
  open: () => (host) => {
    if (!isRegistryHost(host)) return;
    if (isLoopback(host)) assert.match(new URL(`https://${host}`).hostname, /^(localhost$|127\.|\[::1\]$)/);
    // a host that the client can parse must be only a host for it
    const url = URL.parse(`https://${host}/v2/`);
    if (url !== null) assert.ok(url.pathname === "/v2/" && url.username === "" && url.search === "" && url.hash === "");
  },
});

fuzz(import.meta, {
  name: "credential helpers' answers",
  inputs: () =>
    new TextMutator([
      '{"ServerURL":"https://h","Username":"u","Secret":"hunter2"}',
      '{"Username":"<token>","Secret":"t"}',
    ], {
      json: true,
      words: ["Username", "Secret", "<token>"],
    }),
  open: () => (text) => {
    const credential = parseHelperOutput("x", text);
    if (credential === undefined) return;
    assert.ok(credential.kind === "basic" || credential.kind === "identity-token");
  },
});

fuzz(import.meta, {
  name: "Docker's config.json",
  inputs: () =>
    new TextMutator([
      JSON.stringify({ auths: { [HOST]: { auth: btoa(`u:${SECRET}`) }, "https://x/v1/": { identitytoken: SECRET } } }),
      JSON.stringify({
        auths: { [`https://${HOST}/v2/`]: { username: "u", password: SECRET }, y: {} },
        credHelpers: {},
      }),
      JSON.stringify({ auths: { [HOST]: { registrytoken: SECRET } }, HttpHeaders: { "User-Agent": "x" } }),
    ], { json: true, words: [HOST, "auth", "auths", "password", "://", "="] }),
  open: (scratch) => {
    const keychain = new DockerKeychain({ configDir: scratch });
    return async (text) => {
      Deno.writeTextFileSync(`${scratch}/config.json`, text);
      try {
        await keychain.resolve(HOST);
      } catch (error) {
        // an error may name keys
        const isKey = new RegExp(`${SECRET.slice(0, 7)}[^"]*"\\s*:`).test(text);
        assert.ok(isKey || !String(error).includes(SECRET.slice(0, 7)), String(error));
        throw error;
      }
    };
  },
});

fuzz(import.meta, {
  name: "Docker's record of a layer",
  inputs: () =>
    new TextMutator([
      JSON.stringify([
        { Digest: `sha256:${"5".repeat(64)}`, SourceRepository: "docker.io/library/nginx", HMAC: "" },
        { Digest: `sha256:${"6".repeat(64)}`, SourceRepository: "localhost:5000/a/b" },
      ]),
    ], { json: true, words: ["Digest", "SourceRepository"] }),
  allows: (error) => error instanceof SyntaxError,
  open: () => (text) => {
    for (const { host, repository } of parseLayerSources(JSON.parse(text))) {
      assert.ok(isRegistryHost(host) && /^[a-z0-9._/-]+$/.test(repository));
    }
  },
});
