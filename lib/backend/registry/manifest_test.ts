import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { hasCode } from "../../base/errors.ts";
import { parseDigest } from "../../oci/digest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { openRegistry } from "../open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { ANONYMOUS } from "./keychain.ts";
import { getManifest, getSmallBlob, hasManifest } from "./manifest.ts";
import type { Repository } from "./repository.ts";

const digestOf = (bytes: Uint8Array) => parseDigest(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);

async function withRegistry(
  test: (registry: FakeRegistry, transport: Repository) => Promise<void>,
  retries = 0,
): Promise<void> {
  await using registry = await FakeRegistry.start();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries });
  const { transport } = openRegistry({ host: registry.host, repo: "app", scheme: "http" }, {
    http,
    keychain: ANONYMOUS,
  });
  await test(registry, transport);
}

Deno.test("a manifest that does not match its digest is corrupt", () =>
  withRegistry(async (registry, transport) => {
    const bytes = new TextEncoder().encode('{"schemaVersion":2,"manifests":[]}');
    const digest = digestOf(bytes);
    registry.addManifest(digest, MEDIA_TYPE.ociIndex, bytes);
    assert.equal((await getManifest(transport, digest)).digest, digest);
    registry.addManifest(digest, MEDIA_TYPE.ociIndex, new TextEncoder().encode('{"schemaVersion":2,"manifests":[] }'));
    await assert.rejects(getManifest(transport, digest), (error) => hasCode(error, "corrupt"));
  }));

Deno.test("an oversized manifest is aborted, not buffered", () =>
  withRegistry(async (registry, transport) => {
    registry.addManifest("big", MEDIA_TYPE.ociIndex, new Uint8Array(9 << 20).fill(32));
    await assert.rejects(getManifest(transport, "big"), /longer than 8388608 bytes/);
  }));

Deno.test("a small blob is checked against its digest and its size limit", () =>
  withRegistry(async (registry, transport) => {
    const bytes = new Uint8Array([1, 2, 3]);
    registry.addBlob(bytes);
    const digest = digestOf(bytes);
    assert.deepEqual(await getSmallBlob(transport, { digest, size: 3 }, { maxBytes: 10 }), bytes);
    await assert.rejects(
      getSmallBlob(transport, { digest, size: 3 }, { maxBytes: 2 }),
      (error) => hasCode(error, "invalid-image"),
    );
    registry.faults.push({ kind: "status", status: 200, body: "abc" });
    await assert.rejects(
      getSmallBlob(transport, { digest, size: 3 }, { maxBytes: 10 }),
      (error) => hasCode(error, "corrupt"),
    );
  }));

Deno.test("a response that was changed on its way is fetched again", () =>
  withRegistry(async (registry, transport) => {
    const bytes = new Uint8Array([1, 2, 3]);
    registry.addBlob(bytes);
    registry.faults.push({ kind: "status", status: 200, body: "abc" });
    assert.deepEqual(await getSmallBlob(transport, { digest: digestOf(bytes), size: 3 }, { maxBytes: 10 }), bytes);
  }, 1));

Deno.test("a compression that nobody asked for is named as such", () =>
  withRegistry(async (registry, transport) => {
    const digest = digestOf(new Uint8Array(3));
    registry.faults.push({ kind: "status", status: 200, headers: { "content-encoding": "gzip" }, body: "abc" });
    await assert.rejects(getSmallBlob(transport, { digest, size: 3 }, { maxBytes: 10 }), /has Content-Encoding gzip$/);
  }));

Deno.test("a manifest is there although the answer does not say its digest", () =>
  withRegistry(async (registry, transport) => {
    assert.equal(await hasManifest(transport, "1"), false);
    registry.addManifest("1", MEDIA_TYPE.ociIndex, new Uint8Array(3));
    registry.omitsDigests = true;
    assert.equal(await hasManifest(transport, "1"), true);
  }));
