import assert from "node:assert/strict";
import fc from "fast-check";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { type BlobOrigin, formatBlobOrigin, ORIGIN_FILE, parseBlobOrigin, readBlobOrigin } from "./blob_origin.ts";

const ID = "ab".repeat(32);
const GOOD = {
  version: 1,
  registry: "registry.example.com:5000",
  repository: "team/app",
  blobs: [{ digest: `sha256:${ID}`, size: 7 }],
};

/** Expects parsing to fail with this message. */
function refused(document: unknown, message: string, code: "invalid-image" | "unsupported" = "invalid-image"): void {
  const text = typeof document === "string" ? document : JSON.stringify(document);
  assert.throws(() => parseBlobOrigin(text), (error) => {
    assert.ok(hasCode(error, code), String(error));
    assert.equal(error.message, `Cannot read nydus-gd.json: ${message}`);
    return true;
  });
}

Deno.test("an origin is parsed back as it was formatted, and the text is deterministic", () => {
  const hex = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 64, maxLength: 64 });
  fc.assert(fc.property(
    fc.record({
      registry: fc.constantFrom("docker.io", "localhost:5000", "[2001:db8::1]:443", "r.example.com"),
      repository: fc.constantFrom("library/nginx", "a", "a/b-c/d_e"),
      blobSizes: fc.array(fc.tuple(hex, fc.nat())).map((entries) => new Map(entries)),
    }, { noNullPrototype: true }),
    (origin: BlobOrigin) => {
      assert.deepEqual(parseBlobOrigin(formatBlobOrigin(origin)), origin);
      assert.equal(formatBlobOrigin(parseBlobOrigin(formatBlobOrigin(origin))), formatBlobOrigin(origin));
    },
  ));
});

Deno.test("an invalid origin is refused with the name of the wrong field", () => {
  refused("", "it is not valid JSON");
  refused("[]", "version is missing");
  refused("null", "it must be an object, not null");
  refused({ ...GOOD, version: "1" }, 'version must be 1, not "1"');
  refused({ ...GOOD, version: undefined }, "version is missing");
  refused({ ...GOOD, version: 2, more: true }, "its version 2 is not known", "unsupported");
  refused({ ...GOOD, registry: undefined }, "registry is missing");
  for (const registry of ["user:secret@r.example.com", "r.example.com/path", "https://r.example.com", "", "a b"]) {
    refused({ ...GOOD, registry }, "registry is not HOST or HOST:PORT");
  }
  for (const repository of ["", "../../etc", "UPPER", "a//b", "a?x=1", "a#b", "a/../b", "a\n"]) {
    refused({ ...GOOD, repository }, "repository is not a repository name");
  }
  refused({ ...GOOD, password: "secret" }, "password is not known");
  refused({ ...GOOD, blobs: [{ ...GOOD.blobs[0], url: "http://x" }] }, "blobs[0].url is not known");
  refused({ ...GOOD, blobs: [{ digest: ID, size: 7 }] }, "blobs[0].digest is not a sha256 or sha512 digest");
  refused({ ...GOOD, blobs: [{ digest: `sha512:${ID}${ID}`, size: 7 }] }, "blobs[0].digest is not a sha256 digest");
  refused({ ...GOOD, blobs: [{ digest: `sha256:${ID}`, size: -1 }] }, "blobs[0].size is negative");
  refused({ ...GOOD, blobs: Array(4097).fill(GOOD.blobs[0]) }, "blobs has more than 4096 entries");
});

Deno.test("arbitrary text yields an origin or a NydusGdError", () => {
  const texts = fc.oneof(fc.string(), fc.json(), fc.anything().map((value) => JSON.stringify(value) ?? ""));
  fc.assert(fc.property(texts, (text) => {
    try {
      parseBlobOrigin(text);
    } catch (error) {
      assert.ok(error instanceof NydusGdError);
    }
  }));
});

Deno.test("an origin that could not be parsed is not written", () => {
  const origin = { registry: "user@host", repository: "app", blobSizes: new Map([[ID, 7]]) };
  assert.throws(
    () => formatBlobOrigin(origin),
    (error) =>
      hasCode(error, "usage") && error.message === "Cannot write nydus-gd.json: registry is not HOST or HOST:PORT",
  );
});

Deno.test("a layer's file is read only as a regular file of limited size, never through a link", () => {
  using dir = TempDir.make();
  const path = dir.join(ORIGIN_FILE);
  assert.equal(readBlobOrigin(dir.path), undefined);
  Deno.writeTextFileSync(dir.join("elsewhere"), JSON.stringify(GOOD));
  Deno.symlinkSync("elsewhere", path);
  assert.throws(() => readBlobOrigin(dir.path), /Cannot read nydus-gd\.json: .*ELOOP/);
  Deno.removeSync(path);
  Deno.mkdirSync(path);
  assert.throws(() => readBlobOrigin(dir.path), /Cannot read nydus-gd\.json: it is not a file/);
  Deno.removeSync(path);
  Deno.writeTextFileSync(path, " ".repeat((1 << 20) + 1));
  assert.throws(() => readBlobOrigin(dir.path), /Cannot read nydus-gd\.json: 1048577 bytes exceed 1048576/);
  Deno.writeTextFileSync(path, JSON.stringify(GOOD));
  const { registry, repository } = GOOD;
  assert.deepEqual(readBlobOrigin(dir.path), { registry, repository, blobSizes: new Map([[ID, 7]]) });
});
