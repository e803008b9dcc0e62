import assert from "node:assert/strict";
import { hasCode } from "../base/errors.ts";
import { digestAlgorithm, digestHex, isDigest, parseDigest, sha256Digest } from "./digest.ts";

Deno.test("sha256 and sha512 digests are parsed", () => {
  const digest = parseDigest(`sha512:${"0f".repeat(64)}`);
  assert.equal(digestAlgorithm(digest), "sha512");
  assert.equal(digestHex(digest), "0f".repeat(64));
  assert.equal(sha256Digest("ab".repeat(32)), `sha256:${"ab".repeat(32)}`);
});

Deno.test("any other digest is refused with the reason", () => {
  const cases: [text: string, state: RegExp][] = [
    ["", /no algorithm/],
    ["ab".repeat(32), /no algorithm/],
    ["sha256:", /64 lower-case/],
    [`sha256:${"AB".repeat(32)}`, /64 lower-case/],
    [`sha256:${"ab".repeat(31)}zz`, /64 lower-case/],
    [`sha256:${"ab".repeat(33)}`, /64 lower-case/],
    [`md5:${"ab".repeat(16)}`, /neither sha256 nor sha512/],
    [`constructor:${"ab".repeat(32)}`, /neither sha256 nor sha512/],
    [`sha256:${"ab".repeat(32)}\n`, /64 lower-case/],
  ];
  for (const [text, state] of cases) {
    assert.ok(!isDigest(text), text);
    assert.throws(
      () => parseDigest(text),
      (error) => hasCode(error, "invalid-image") && state.test(error.message),
      text,
    );
  }
});
