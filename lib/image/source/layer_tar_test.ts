import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { file, tarOf } from "../../../tests/support/archive/tar_builder.ts";
import { concatenate } from "../../base/bytes.ts";
import { hasCode } from "../../base/errors.ts";
import { type Digest, sha256Digest } from "../../oci/digest.ts";
import { type ExpectedLayer, tarOfLayer } from "./layer_tar.ts";

const TAR = tarOf(file("a", "x".repeat(200_000)));
const STORED = new Uint8Array(gzipSync(TAR));
const OTHER = sha256Digest("ab".repeat(32));

function digestOf(bytes: Uint8Array): Digest {
  return sha256Digest(createHash("sha256").update(bytes).digest("hex"));
}

/** Reads a layer that arrives in pieces of a thousand bytes. */
async function read(stored: Uint8Array<ArrayBuffer>, expected: Pick<ExpectedLayer, "digest" | "diffId">) {
  async function* pieces() {
    for (let at = 0; at < stored.length; at += 1000) yield await Promise.resolve(stored.slice(at, at + 1000));
  }
  const tar: Uint8Array[] = [];
  const layer = { what: "layer a", doing: "convert", ...expected } as const;
  for await (const piece of tarOfLayer(pieces(), layer)) tar.push(piece.slice());
  return concatenate(tar);
}

Deno.test("a layer is read to its end, compressed or not, with or without digests", async () => {
  const diffId = digestOf(TAR);
  for (const stored of [STORED, TAR]) {
    assert.deepEqual(await read(stored, { digest: digestOf(stored), diffId }), TAR);
    assert.deepEqual(await read(stored, { digest: undefined, diffId: undefined }), TAR);
  }
});

Deno.test("a layer of another digest is corrupt, whichever of its two is wrong", async () => {
  const isCorrupt = (state: RegExp) => (error: unknown) => hasCode(error, "corrupt") && state.test(error.message);
  for (const stored of [STORED, TAR]) {
    await assert.rejects(
      read(stored, { digest: OTHER, diffId: digestOf(TAR) }),
      isCorrupt(/^Cannot convert layer a: its digest sha256:[0-9a-f]{64} differs, sha256:abab/),
    );
    await assert.rejects(read(stored, { digest: digestOf(stored), diffId: OTHER }), isCorrupt(/of the configuration/));
  }
});
