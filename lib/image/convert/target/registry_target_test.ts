/**
 * A registry that refuses what is pushed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ConvertKit } from "../../../../tests/support/image/convert_kit.ts";
import { writeLayout } from "../../../../tests/support/image/layout_builder.ts";
import { file, tarOf } from "../../../../tests/support/archive/tar_builder.ts";
import { NydusGdError } from "../../../base/errors.ts";

/** Manifests that were pushed, by the last part of their path. */
interface PushRegistry extends AsyncDisposable {
  readonly host: string;
  readonly manifests: string[];
}

/** Accepts blobs, and manifests unless `refusal` returns a response; answers accepted ones with `headers`. */
function serveRegistry(
  refusal: (body: string) => Response | undefined,
  headers: Record<string, string> = {},
): PushRegistry {
  const manifests: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const body = await request.text();
    const kind = /\/v2\/.+\/(manifests|blobs\/uploads|blobs)\//.exec(pathname)?.[1];
    if (request.method === "HEAD") return new Response(null, { status: 404 });
    if (request.method === "POST") return new Response(null, { status: 202, headers: { location: `${pathname}1` } });
    if (kind !== "manifests") return new Response(null, { status: 201 });
    const refused = refusal(body);
    if (refused !== undefined) return refused;
    manifests.push(pathname.slice(pathname.lastIndexOf("/") + 1));
    return new Response(null, { status: 201, headers });
  });
  return {
    host: `127.0.0.1:${server.addr.port}`,
    manifests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("a registry that refuses a media type is reported with a hint, and the tag is not pushed", async () => {
  const type = "application/vnd.oci.image.layer.nydus.blob.v1";
  const error = { code: "MANIFEST_INVALID", message: `media type ${type} is not allowed` };
  await using registry = serveRegistry((body) =>
    body.includes(type) ? Response.json({ errors: [error] }, { status: 400 }) : undefined
  );
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: tarOf(file("a", "1")) }] });
  await assert.rejects(() => kit.convert(kit.named("source"), `${registry.host}/app:1`), (refused) => {
    assert.ok(refused instanceof NydusGdError);
    assert.match(refused.message, /^Cannot push manifest sha256:\w+ to [^\n]*: HTTP 400 MANIFEST_INVALID from \S+$/);
    assert.match(refused.hint ?? "", /^check whether the registry accepts manifests of \S+ with nydus layers$/);
    return true;
  });
  assert.ok(!registry.manifests.includes("1"), "the tag points to half an image");
  assert.ok(registry.manifests.every((name) => name.startsWith("sha256:")));
});

Deno.test("a registry that refuses a manifest for its size is reported with the size", async () => {
  await using registry = serveRegistry((body) =>
    body.length > 4 << 20 ? new Response(null, { status: 413 }) : undefined
  );
  using kit = new ConvertKit();
  const annotations = { large: "x".repeat(5 << 20) };
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: tarOf(file("a", "1")) }], annotations });
  await assert.rejects(() => kit.convert(kit.named("source"), `${registry.host}/app:1`), (refused) => {
    assert.ok(refused instanceof NydusGdError);
    assert.equal(
      refused.hint,
      "registries accept manifests up to 4.19 MB, and this one has 5.24 MB: remove large annotations",
    );
    return true;
  });
});

Deno.test("a registry with a referrers API gets no referrers tag", async () => {
  const subject = {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${"a".repeat(64)}`,
    size: 1,
  };
  await using registry = serveRegistry(() => undefined, { "oci-subject": subject.digest });
  using kit = new ConvertKit();
  await writeLayout(kit.temp.join("source"), { layers: [{ tar: tarOf(file("a", "1")) }], subject });
  await kit.convert(kit.named("source"), `${registry.host}/app:1`);
  assert.deepEqual(registry.manifests.map((name) => name.slice(0, 7)), ["sha256:", "sha256:", "1"]);
});
