import assert from "node:assert/strict";
import { join } from "node:path";
import { NydusGdError } from "../../base/errors.ts";
import { ANONYMOUS, type Credential, dockerConfigDir, DockerKeychain, firstOf, staticKeychain } from "./keychain.ts";

const SECRET = "hunter2:x";

/** Runs `test` with a folder for config.json, which is also the only folder of PATH beside the system's. */
async function withConfig(
  config: unknown,
  test: (keychain: DockerKeychain, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = Deno.env.get("PATH") ?? "";
  try {
    const text = typeof config === "string" ? config : JSON.stringify(config);
    await Deno.writeTextFile(join(folder, "config.json"), text);
    Deno.env.set("PATH", `${folder}:${path}`);
    await test(new DockerKeychain({ configDir: folder, helperTimeoutMs: 5_000 }), folder);
  } finally {
    Deno.env.set("PATH", path);
    await Deno.remove(folder, { recursive: true });
  }
}

async function helper(folder: string, name: string, script: string): Promise<void> {
  await Deno.writeTextFile(join(folder, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

async function refuses(promise: Promise<unknown>, words: RegExp): Promise<void> {
  const error = await promise.then(() => assert.fail("it succeeded"), (error: unknown) => error);
  assert.ok(error instanceof NydusGdError && error.code === "config", String(error));
  assert.match(error.message, words);
  assert.ok(!Deno.inspect(error, { depth: 9 }).includes(SECRET), "the secret is shown");
}

const basic = (user: string, password: string): Credential => ({ kind: "basic", user, password });

Deno.test("auths are found by host, by port, and by the URLs of old clients", () =>
  withConfig({
    auths: {
      "localhost:5000": { auth: btoa("a:1") },
      "https://old.example.com/v1/": { auth: btoa("b:2:3") },
      "plain.example.com": { username: "c", password: "4" },
      "token.example.com": { auth: btoa("x:"), identitytoken: "idt" },
      "registry.example.com": { registrytoken: "rt" },
      "empty.example.com": {},
      "padded.example.com": { auth: btoa("d:5\0\0") },
    },
  }, async (keychain) => {
    assert.deepEqual(await keychain.resolve("localhost:5000"), basic("a", "1"));
    assert.equal(await keychain.resolve("localhost"), undefined);
    assert.deepEqual(await keychain.resolve("old.example.com"), basic("b", "2:3"));
    assert.deepEqual(await keychain.resolve("plain.example.com"), basic("c", "4"));
    assert.deepEqual(await keychain.resolve("token.example.com"), { kind: "identity-token", token: "idt" });
    assert.deepEqual(await keychain.resolve("registry.example.com"), { kind: "registry-token", token: "rt" });
    assert.equal(await keychain.resolve("empty.example.com"), undefined);
    assert.deepEqual(await keychain.resolve("padded.example.com"), basic("d", "5"));
    assert.equal(await keychain.resolve("constructor"), undefined);
  }));

Deno.test("every name of Docker Hub finds its one entry", () =>
  withConfig({ auths: { "https://index.docker.io/v1/": { auth: btoa("hub:pw") } } }, async (keychain) => {
    for (const host of ["docker.io", "index.docker.io", "registry-1.docker.io"]) {
      assert.deepEqual(await keychain.resolve(host), basic("hub", "pw"), host);
    }
  }));

Deno.test("a missing file means anonymous", async () => {
  assert.equal(await new DockerKeychain({ configDir: "/nonexistent" }).resolve("h"), undefined);
});

Deno.test("a spoilt file is refused without showing what it holds", async () => {
  await withConfig(
    `{"auths": {"h": {"auth": "${SECRET}`,
    (keychain) => refuses(keychain.resolve("h"), /no valid JSON/),
  );
  await withConfig(`{"auths": ${SECRET}}`, (keychain) => refuses(keychain.resolve("h"), /no valid JSON/));
  await withConfig(
    { auths: { h: { auth: [SECRET] } } },
    (keychain) => refuses(keychain.resolve("h"), /auths\.h\.auth must be/),
  );
  await withConfig({ auths: { h: { auth: SECRET } } }, (keychain) => refuses(keychain.resolve("h"), /no base64/));
});

Deno.test("a helper of the host is asked before the store, and both before auths", () =>
  withConfig({
    auths: { "h.example.com": {}, "other.example.com": {}, "third.example.com": { auth: btoa("file:pw") } },
    credsStore: "store",
    credHelpers: { "h.example.com": "own" },
  }, async (keychain, folder) => {
    await helper(
      folder,
      "own",
      `read -r server; printf '{"ServerURL":"%s","Username":"own","Secret":"%s"}' "$server" "$1"`,
    );
    await helper(
      folder,
      "store",
      `read -r server; case $server in other*) echo '{"Username":"<token>","Secret":"idt"}';; ` +
        `*) echo "credentials not found in native keychain"; exit 1;; esac`,
    );
    assert.deepEqual(await keychain.resolve("h.example.com"), basic("own", "get"));
    assert.deepEqual(await keychain.resolve("other.example.com"), { kind: "identity-token", token: "idt" });
    assert.deepEqual(await keychain.resolve("third.example.com"), basic("file", "pw"));
    assert.equal(await keychain.resolve("fourth.example.com"), undefined);
  }));

Deno.test("a helper that fails is named, and what it printed is not", () =>
  withConfig(
    { credHelpers: { a: "broken", b: "missing", c: "odd", d: "../evil", e: "silent" } },
    async (keychain, folder) => {
      await helper(folder, "broken", `echo "${SECRET}"; exit 3`);
      await helper(folder, "odd", `echo "${SECRET}"`);
      await helper(folder, "silent", `exec sleep 60`);
      await refuses(keychain.resolve("a"), /docker-credential-broken: it ended with status 3/);
      await refuses(keychain.resolve("b"), /docker-credential-missing: it is not in PATH/);
      await refuses(keychain.resolve("c"), /docker-credential-odd: it printed no valid JSON/);
      await refuses(keychain.resolve("d"), /its name is no plain word/);
      const hasty = new DockerKeychain({ configDir: folder, helperTimeoutMs: 50 });
      await refuses(hasty.resolve("e"), /docker-credential-silent: it did not answer within 50 ms/);
    },
  ));

Deno.test("the first keychain with a credential counts", async () => {
  const keychain = firstOf(ANONYMOUS, staticKeychain(basic("a", "b")), staticKeychain(basic("c", "d")));
  assert.deepEqual(await keychain.resolve("h"), basic("a", "b"));
});

Deno.test("the configuration's folder: the setting, then the environment, then root's", () => {
  assert.equal(dockerConfigDir("/set", "/env"), "/set");
  assert.equal(dockerConfigDir(undefined, "/env"), "/env");
  assert.equal(dockerConfigDir(undefined, ""), "/root/.docker");
});
