import assert from "node:assert/strict";
import { join } from "node:path";
import { processStat } from "../../../ffi/procfs.ts";
import { inPath } from "../../../tests/support/process/path_folder.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { thrownBy } from "../../../tests/support/thrown_by.ts";
import { until } from "../../../tests/support/until.ts";
import { hasCode, ignore, NydusGdError } from "../../base/errors.ts";
import type { Credential } from "./credential.ts";
import { ANONYMOUS, dockerConfigDir, DockerKeychain, firstOf, type Keychain, staticKeychain } from "./keychain.ts";

const SECRET = "hunter2:x";

/** Runs `test` with a folder for config.json, which is also the only folder in PATH besides the system's. */
async function withConfig(
  config: unknown,
  test: (keychain: DockerKeychain, folder: string) => Promise<void>,
): Promise<void> {
  using dir = TempDir.make();
  await Deno.writeTextFile(dir.join("config.json"), typeof config === "string" ? config : JSON.stringify(config));
  using _helpers = inPath(dir.path);
  await test(new DockerKeychain({ configDir: dir.path, helperTimeoutMs: 5_000 }), dir.path);
}

async function helper(folder: string, name: string, script: string): Promise<void> {
  await Deno.writeTextFile(join(folder, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

async function refuses(promise: Promise<unknown>, words: RegExp): Promise<void> {
  const error = await thrownBy(() => promise);
  assert.ok(error instanceof NydusGdError && error.code === "config", String(error));
  assert.match(error.message, words);
  assert.ok(!Deno.inspect(error, { depth: 9 }).includes(SECRET), "the secret is shown");
}

type Secret = Credential extends infer C ? C extends Credential ? Omit<C, "source"> : never : never;
const basic = (user: string, password: string): Secret => ({ kind: "basic", user, password });

/** Returns the secret for a host, and its source. */
async function finds(keychain: Keychain, host: string, secret: Secret | undefined, source: RegExp): Promise<void> {
  const found = await keychain.resolve(host);
  if (found === undefined) return assert.equal(secret, undefined, host);
  const { source: { name }, ...rest } = found;
  assert.deepEqual(rest, secret, host);
  assert.match(name, source);
}

Deno.test("auths are found by host, by port, and by the URLs of old clients", () =>
  withConfig({
    auths: {
      "localhost:5000": { auth: btoa("a:1") },
      "https://old.example.com/v1/": { auth: btoa("b:2:3") },
      "plain.example.com": { username: "c", password: "4" },
      "token.example.com": { auth: btoa("x:"), identitytoken: "idt" },
      "registry.example.com": { registrytoken: "rt" },
      "empty.example.com": {},
      "twice.example.com": {},
      "https://twice.example.com": { auth: btoa("e:6") },
      "padded.example.com": { auth: btoa("d:5\0\0") },
    },
  }, async (keychain, folder) => {
    const has = (host: string, secret?: Secret) => finds(keychain, host, secret, new RegExp(`^${folder}/config.json$`));
    await has("localhost:5000", basic("a", "1"));
    await has("localhost");
    await has("old.example.com", basic("b", "2:3"));
    await has("plain.example.com", basic("c", "4"));
    await has("token.example.com", { kind: "identity-token", token: "idt" });
    await has("registry.example.com", { kind: "registry-token", token: "rt" });
    await has("empty.example.com");
    await has("twice.example.com", basic("e", "6"));
    await has("padded.example.com", basic("d", "5"));
    await has("constructor");
  }));

Deno.test("every name of Docker Hub finds its single entry", () =>
  withConfig({ auths: { "https://index.docker.io/v1/": { auth: btoa("hub:pw") } } }, async (keychain) => {
    for (const host of ["docker.io", "index.docker.io", "registry-1.docker.io"]) {
      await finds(keychain, host, basic("hub", "pw"), /config\.json$/);
    }
  }));

Deno.test("a missing file means anonymous access", async () => {
  assert.equal(await new DockerKeychain({ configDir: "/nonexistent" }).resolve("h"), undefined);
});

Deno.test("a damaged file is refused without showing its content", async () => {
  await withConfig(
    `{"auths": {"h": {"auth": "${SECRET}`,
    (keychain) => refuses(keychain.resolve("h"), /not valid JSON/),
  );
  await withConfig(`{"auths": ${SECRET}}`, (keychain) => refuses(keychain.resolve("h"), /not valid JSON/));
  await withConfig(
    { auths: { h: { auth: [SECRET] } } },
    (keychain) => refuses(keychain.resolve("h"), /auths\.h\.auth must be/),
  );
  await withConfig({ auths: { h: { auth: SECRET } } }, (keychain) => refuses(keychain.resolve("h"), /not base64/));
});

Deno.test("the credential helper of a host takes precedence over the store, and both over auths", () =>
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
    await finds(keychain, "h.example.com", basic("own", "get"), /^docker-credential-own$/);
    const identity = { kind: "identity-token", token: "idt" } as const;
    await finds(keychain, "other.example.com", identity, /^docker-credential-store$/);
    await finds(keychain, "third.example.com", basic("file", "pw"), /config\.json$/);
    assert.equal(await keychain.resolve("fourth.example.com"), undefined);
  }));

Deno.test("a failing helper is named, without its output", () =>
  withConfig(
    { credHelpers: { a: "broken", b: "missing", c: "odd", d: "../evil", e: "silent" } },
    async (keychain, folder) => {
      await helper(folder, "broken", `echo "${SECRET}"; exit 3`);
      await helper(folder, "odd", `echo "${SECRET}"`);
      await helper(folder, "silent", `exec sleep 60`);
      await refuses(keychain.resolve("a"), /docker-credential-broken: it ended with status 3/);
      await refuses(keychain.resolve("b"), /docker-credential-missing: it is not in PATH/);
      await refuses(keychain.resolve("c"), /docker-credential-odd: it printed no valid JSON/);
      await refuses(keychain.resolve("d"), /its name is not a plain word/);
      const hasty = new DockerKeychain({ configDir: folder, helperTimeoutMs: 50 });
      await refuses(hasty.resolve("e"), /docker-credential-silent: it did not answer within 50 ms/);
    },
  ));

Deno.test("a helper is given up although a program that it has started has its output open", () =>
  withConfig({ credHelpers: { a: "wrapper" } }, async (keychain, folder) => {
    const started = join(folder, "started");
    await helper(folder, "wrapper", `sleep 60 & echo $$ $! > ${started}.new; mv ${started}.new ${started}; wait`);
    const abort = new AbortController();
    const resolving = assert.rejects(keychain.resolve("a", abort.signal), (error) => hasCode(error, "interrupted"));
    await until(
      "the helper has started a program",
      async () => await ignore(Deno.errors.NotFound, Deno.stat(started)) !== undefined,
    );
    abort.abort();
    await resolving;
    const [helperPid = "", pid = ""] = (await Deno.readTextFile(started)).trim().split(" ");
    assert.match(await Deno.readTextFile(`/proc/${pid}/cmdline`), /^sleep/, "it runs on");
    Deno.kill(Number(pid), "SIGKILL");
    await until("the helper has ended", () => processStat(helperPid) === undefined);
  }));

Deno.test("the first keychain with a credential is used", async () => {
  const of = (name: string) => staticKeychain({ kind: "basic", user: name, password: "p", source: { name } });
  await finds(firstOf(ANONYMOUS, of("first"), of("second")), "h", basic("first", "p"), /^first$/);
});

Deno.test("Docker's folder is taken from the setting, then the environment, then the user's home", async () => {
  assert.equal(dockerConfigDir("/set", "/env"), "/set");
  assert.equal(dockerConfigDir(undefined, "/env"), "/env");
  assert.equal(dockerConfigDir(undefined, "", "/home/user"), "/home/user/.docker");
  const ask = `import { dockerConfigDir } from "${new URL("./keychain.ts", import.meta.url)}";
    console.log(dockerConfigDir(undefined, ""));`;
  const env = { HOME: "/home/kept-by-sudo" };
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", ask], env }).output();
  const home = Deno.uid() === 0 ? "/root" : env.HOME;
  assert.equal(new TextDecoder().decode(stdout).trim(), `${home}/.docker`);
});
