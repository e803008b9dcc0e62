import assert from "node:assert/strict";
import { join } from "node:path";
import { hasCode } from "../base/errors.ts";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import { parseNydusdConfig } from "./nydusd_config.ts";
import { type BackendDeps, openBackend, openRegistry } from "./open_backend.ts";
import { DEFAULT_FETCH_OPTIONS } from "./http/fetch_options.ts";
import { HttpClient } from "./http/http_client.ts";
import { ANONYMOUS } from "./registry/keychain.ts";

async function withDeps(test: (deps: BackendDeps) => Promise<void> | void): Promise<void> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  await test({ http, keychain: ANONYMOUS, certsDir: "/nonexistent" });
}

function configured(type: string, section: Record<string, unknown>) {
  return parseNydusdConfig(JSON.stringify({ version: 2, backend: { type, [type]: section } })).backend;
}

Deno.test("the configured backend is opened, and described without credentials", () =>
  withDeps((deps) => {
    assert.equal(openBackend(configured("localfs", { dir: "/b" }), deps).description, "localfs /b");
    const registry = configured("registry", { host: "h:5000", repo: "a/b", auth: btoa("u:s3cret") });
    assert.equal(openBackend(registry, deps).description, "registry h:5000/a/b");
  }));

Deno.test("a host or repository that could alter a URL is refused", () =>
  withDeps((deps) => {
    for (const [host, repo] of [["h/../x", "r"], ["u@h", "r"], ["h", "../../v1"], ["h", "a?b"], ["h", ""], ["", "r"]]) {
      const open = () => openRegistry({ host: host ?? "", repo: repo ?? "" }, deps);
      assert.throws(open, (error) => hasCode(error, "config"), `${host}/${repo}`);
    }
  }));

Deno.test("IMAGE_PULL_AUTH replaces the configured credential", async () => {
  await using registry = await FakeRegistry.start({ auth: "basic", user: "env", password: "pw" });
  const id = registry.addBlob(new Uint8Array([1, 2, 3]));
  await withDeps(async (deps) => {
    const config = configured("registry", { host: registry.host, repo: "r", auth: btoa("old:old"), scheme: "http" });
    const backend = openBackend(config, { ...deps, imagePullAuth: btoa("env:pw") });
    assert.equal(await backend.blob(id).size(), 3);
    await assert.rejects(openBackend(config, { ...deps, imagePullAuth: "" }).blob(id).size());
  });
});

Deno.test("an unreadable certificate is refused with its path", () =>
  withDeps((deps) => {
    const config = configured("registry", { host: "h", repo: "r", ca_cert_files: ["/nonexistent/ca.pem"] });
    assert.throws(() => openBackend(config, deps), /Cannot read certificate \/nonexistent\/ca\.pem/);
  }));

Deno.test("a folder of Docker's certificates without PEM files is refused", async () => {
  const certsDir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(join(certsDir, "h:5000"));
    await Deno.writeTextFile(join(certsDir, "h:5000", "ca.crt"), "none");
    await withDeps((deps) => {
      assert.throws(
        () => openRegistry({ host: "h:5000", repo: "r" }, { ...deps, certsDir }),
        /ca\.crt: it contains none/,
      );
    });
  } finally {
    await Deno.remove(certsDir, { recursive: true });
  }
});
