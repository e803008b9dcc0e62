import assert from "node:assert/strict";
import { join } from "node:path";
import { FakeRegistry } from "../../../tests/support/backend/fake_registry.ts";
import { TLS } from "../../../tests/support/backend/tls_fixture.ts";
import { hasCode } from "../../base/errors.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { openRegistry } from "../open_backend.ts";
import { dockerCertificates } from "./docker_certificates.ts";
import { ANONYMOUS } from "./keychain.ts";

const { certificate: CERTIFICATE, key: KEY } = TLS;

/** Runs `test` with a folder of certificates that holds these files for `host`. */
async function withFolder(
  host: string,
  files: Readonly<Record<string, string>>,
  test: (certsDir: string) => Promise<void> | void,
): Promise<void> {
  const certsDir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(join(certsDir, host));
    for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(certsDir, host, name), text);
    await test(certsDir);
  } finally {
    await Deno.remove(certsDir, { recursive: true });
  }
}

Deno.test("a client certificate is sent to the registry that it is configured for, and to no other host", async () => {
  const tls = { certificate: CERTIFICATE, key: KEY, clientCa: CERTIFICATE };
  await using registry = await FakeRegistry.start({ tls });
  const id = registry.addBlob(new Uint8Array([1, 2, 3]));
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  const size = (certsDir: string, host = registry.host) =>
    openRegistry({ host, repo: "r", scheme: "https" }, { http, keychain: ANONYMOUS, certsDir }).blob(id).size();
  const files = { "ca.crt": CERTIFICATE, "client.cert": CERTIFICATE, "client.key": KEY };
  await withFolder(registry.host, files, async (certsDir) => {
    assert.equal(await size(certsDir), 3);
    await Deno.remove(join(certsDir, registry.host, "client.cert"));
    await Deno.remove(join(certsDir, registry.host, "client.key"));
    await assert.rejects(size(certsDir), (error) => hasCode(error, "unavailable"));
  });
  // the same server by another name: a client certificate is presented to one host only
  await using front = await FakeRegistry.start();
  const named = `localhost:${front.port}`;
  await withFolder(named, files, async (certsDir) => {
    front.lasting = { kind: "redirect", location: `${registry.url}/v2/r/blobs/sha256:${id}` };
    const backend = openRegistry({ host: named, repo: "r", scheme: "http" }, { http, keychain: ANONYMOUS, certsDir });
    await assert.rejects(
      backend.blob(id).read(0, 1, { priority: "on-demand" }),
      (error) => hasCode(error, "unavailable"),
    );
  });
});

for (
  const [files, words] of [
    [{ "client.cert": CERTIFICATE }, /client\.cert has no client\.key \(a CA is a \.crt\)/],
    [{ "client.key": KEY }, /client\.key has no client\.cert/],
    [{ "a.cert": CERTIFICATE, "a.key": KEY, "b.cert": CERTIFICATE, "b.key": KEY }, /more than one client certificate/],
    [{ "ca.crt": "none" }, /Cannot read certificate .*ca\.crt: it contains none in PEM format/],
    [{ "client.cert": CERTIFICATE, "client.key": "none" }, /Cannot read private key .*client\.key: it contains none/],
  ] as const
) {
  Deno.test(`unusable certificates are refused: ${Object.keys(files).join(", ")}`, () =>
    withFolder("h:5000", files, (certsDir) => {
      assert.throws(
        () => dockerCertificates(certsDir, "h:5000"),
        (error) => hasCode(error, "config") && words.test(error.message) && !error.message.includes("BEGIN"),
      );
    }));
}

Deno.test("a host without a folder has no certificates of its own", () => {
  assert.deepEqual(dockerCertificates("/nonexistent", "h"), { caCertificates: [], clientCertificate: undefined });
});
