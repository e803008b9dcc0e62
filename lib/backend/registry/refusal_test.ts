/**
 * Errors when a registry or its token server refuses: whose credentials were sent, and how to fix that.
 *
 * @module
 */
import assert from "node:assert/strict";
import { refuses } from "../../../tests/support/backend/backend_world.ts";
import { FakeRegistry, type FakeRegistryOptions } from "../../../tests/support/backend/fake_registry.ts";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { inPath } from "../../../tests/support/process/path_folder.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { DEFAULT_FETCH_OPTIONS } from "../http/fetch_options.ts";
import { HttpClient } from "../http/http_client.ts";
import { parseNydusdConfig } from "../nydusd_config.ts";
import { openBackend } from "../open_backend.ts";
import { Mirrors } from "./certs_dir.ts";
import { DockerKeychain } from "./keychain.ts";

const SECRET = "hunter2-s3cret";
const USER = { user: "bob", password: "right" } as const;

interface World {
  readonly registry: FakeRegistry;
  readonly folder: TempDir;
  /** Writes Docker's configuration, with `HOST` replaced by the registry's host. */
  login(config: Record<string, unknown>): void;
  /** Reads the size of a blob with these keys of nydusd's configuration. */
  size(keys?: Record<string, unknown>, imagePullAuth?: string): Promise<number>;
}

async function withWorld(options: FakeRegistryOptions, test: (world: World) => Promise<void>): Promise<void> {
  await using _quiet = await quietLogs();
  await using registry = await FakeRegistry.start(options);
  using folder = TempDir.make();
  using http = new HttpClient({ ...DEFAULT_FETCH_OPTIONS, retries: 0 });
  const keychain = new DockerKeychain({ configDir: folder.path });
  const id = registry.addBlob(new Uint8Array(10));
  await test({
    registry,
    folder,
    login: (config) => {
      const text = JSON.stringify(config).replaceAll("HOST", registry.host);
      Deno.writeTextFileSync(folder.join("config.json"), text);
    },
    size: (keys = {}, imagePullAuth = "") => {
      const section = { host: registry.host, repo: "team/app", scheme: "http", ...keys };
      const config = { version: 2, backend: { type: "registry", registry: section } };
      return openBackend(parseNydusdConfig(JSON.stringify(config)).backend, {
        http,
        keychain,
        certsDir: "/nonexistent",
        mirrors: new Mirrors([folder.path]),
        environment: {},
        imagePullAuth,
      }).blob(id).size();
    },
  });
}

/** Expects a refusal that names the registry, contains all of `words`, has this hint and no secret. */
async function failsWith(
  promise: Promise<unknown>,
  registry: FakeRegistry,
  words: string,
  hint: string,
): Promise<void> {
  const error = await refuses(promise, "unauthorized");
  const shown = error.message.replaceAll(registry.host, "HOST");
  assert.match(shown, /^Cannot read blob [0-9a-f]{64} from registry HOST\/team\/app: /);
  assert.ok(shown.includes(words), shown);
  assert.equal(error.hint?.replaceAll(registry.host, "HOST"), hint);
  const all = Deno.inspect(error, { depth: 9 });
  for (const secret of [SECRET, btoa(`bob:${SECRET}`)]) assert.ok(!all.includes(secret), all);
}

const LOGIN = "docker login HOST";

for (const auth of ["basic", "bearer"] as const) {
  Deno.test(`${auth}: a refusal without credentials says so, and how to provide some`, () =>
    withWorld({ auth, ...USER }, async ({ registry, size }) => {
      await failsWith(size(), registry, "asked without credentials, there are none for HOST", LOGIN);
      await failsWith(
        size({ registry_token: SECRET }),
        registry,
        "asked with registry_token, there is nothing else",
        LOGIN,
      );
    }));

  Deno.test(`${auth}: a refused password of Docker's file is reported with the file`, () =>
    withWorld({ auth, ...USER }, async ({ registry, folder, login, size }) => {
      login({ auths: { HOST: { auth: btoa(`bob:${SECRET}`) } } });
      await failsWith(size(), registry, `asked with user and password from ${folder.path}/config.json`, LOGIN);
      login({ auths: { HOST: { auth: btoa("bob:right") } } });
      assert.equal(await size(), 10);
    }));

  Deno.test(`${auth}: a refused password of the configuration or IMAGE_PULL_AUTH is reported with its key`, () =>
    withWorld({ auth, ...USER }, async ({ registry, size }) => {
      const wrong = btoa(`bob:${SECRET}`);
      await failsWith(
        size({ auth: wrong }),
        registry,
        "asked with user and password from auth of the configured backend",
        "correct auth in the backend's configuration",
      );
      await failsWith(
        size({ auth: btoa("bob:right") }, wrong),
        registry,
        "asked with user and password from IMAGE_PULL_AUTH",
        "correct IMAGE_PULL_AUTH",
      );
    }));
}

Deno.test("a refused password of a credential helper is reported with the helper", () =>
  withWorld({ auth: "bearer", ...USER }, async ({ registry, folder, login, size }) => {
    const script = `#!/bin/sh\necho '{"Username":"bob","Secret":"${SECRET}"}'\n`;
    await Deno.writeTextFile(folder.join("docker-credential-test"), script, { mode: 0o755 });
    login({ credsStore: "test" });
    using _helper = inPath(folder.path);
    await failsWith(size(), registry, "asked with user and password from docker-credential-test", LOGIN);
  }));

Deno.test("an expired identity token is reported as such", () =>
  withWorld({ auth: "bearer", ...USER, identityToken: SECRET }, async ({ registry, folder, login, size }) => {
    login({ auths: { HOST: { identitytoken: SECRET } } });
    assert.equal(await size(), 10);
    registry.changeIdentityToken(undefined);
    const words = `HTTP 400 invalid_grant from HOST, asked with identity token from ${folder.path}/config.json`;
    await failsWith(size(), registry, words, LOGIN);
  }));

Deno.test("an identity token where user and password are required is reported as unsuitable", () =>
  withWorld({ auth: "basic", ...USER }, async ({ registry, login, size }) => {
    login({ auths: { HOST: { identitytoken: SECRET } } });
    await failsWith(
      size(),
      registry,
      "HOST refused: it requires user and password, asked with identity token from",
      LOGIN,
    );
  }));

Deno.test("a refused Authorization of hosts.toml is reported as such", () =>
  withWorld({ auth: "basic", ...USER }, async ({ registry, folder, size }) => {
    Deno.mkdirSync(folder.join(registry.host));
    const header = (password: string) =>
      Deno.writeTextFileSync(
        folder.join(`${registry.host}/hosts.toml`),
        `server = "${registry.url}"\n[header]\nAuthorization = "Basic ${btoa(`bob:${password}`)}"`,
      );
    header(SECRET);
    await failsWith(size(), registry, "asked with a header of hosts.toml, there is nothing else for HOST", LOGIN);
    header("right");
    assert.equal(await size(), 10);
  }));

Deno.test("a registry that refuses without a challenge is reported as such", () =>
  withWorld({ auth: "none" }, async ({ registry, size }) => {
    registry.refusal = 403;
    await failsWith(size(), registry, "HTTP 403 from HOST, asked without credentials", LOGIN);
  }));
