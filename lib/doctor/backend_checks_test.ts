import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/machine/doctor_installation.ts";
import { FakeBucket } from "../../tests/support/backend/fake_bucket.ts";
import { FakeRegistry } from "../../tests/support/backend/fake_registry.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { backendChecks } from "./backend_checks.ts";
import type { CheckResult } from "./check.ts";

/** Docker's client configuration with one login. */
async function logIn(temp: TempDir, host: string, user: string, password: string): Promise<void> {
  await Deno.mkdir(temp.join("client"), { recursive: true });
  const auths = { [host]: { auth: btoa(`${user}:${password}`) } };
  await Deno.writeTextFile(temp.join("client/config.json"), JSON.stringify({ auths }));
  await Deno.writeTextFile(temp.join("settings.toml"), `[docker]\nconfig = "${temp.join("client")}"\n`);
}

/** Results of the checks for the installation in `temp`. */
async function judge(temp: TempDir): Promise<(name: string) => CheckResult> {
  using installation = await installationIn(temp);
  const found = await results(await backendChecks(installation));
  return (name) => found.get(name) ?? assert.fail(`no check ${name} among ${[...found.keys()].join(", ")}`);
}

Deno.test("a registry that accepts our login is ok, one that refuses it suggests docker login", async () => {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start({ auth: "bearer", user: "me", password: "right" });
  const name = `registry ${registry.host}`;
  await logIn(temp, registry.host, "me", "right");
  const accepted = (await judge(temp))(name);
  assert.equal(accepted.verdict, "ok", accepted.seen);
  assert.equal(accepted.seen, "answers with our login");
  await logIn(temp, registry.host, "me", "wrong");
  const refused = (await judge(temp))(name);
  assert.equal(refused.verdict, "fail");
  assert.match(refused.mend ?? "", /docker login/);
  assert.doesNotMatch(JSON.stringify(refused), /wrong/);
  await registry.goDown();
  const down = (await judge(temp))(name);
  assert.equal(down.verdict, "fail");
  assert.match(down.seen, /Cannot reach registry .* refused/);
});

Deno.test("unreadable logins are reported without their content", async () => {
  using temp = TempDir.make();
  await logIn(temp, "registry.example", "me", "right");
  await Deno.writeTextFile(temp.join("client/config.json"), '{"auths": {"h": {"auth": "c2VjcmV0"},}}');
  const { verdict, seen, mend } = (await judge(temp))("logins");
  assert.deepEqual([verdict, mend], ["fail", "run docker login, or correct the file"]);
  assert.match(seen, /Cannot read Docker credentials .*config\.json: it is not valid JSON/);
  assert.doesNotMatch(seen, /c2VjcmV0/);
});

Deno.test("logins recorded by a pull are used as the daemon does, and reported", async () => {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start({ auth: "bearer", user: "me", password: "right" });
  const { host } = registry;
  const name = `registry ${host}`;
  await Deno.mkdir(temp.join("root/state/pulled"), { recursive: true });
  const pull = async (password: string) => {
    const logins = [{ host, kind: "basic", user: "me", password }];
    const pulledAt = new Date().toISOString();
    const record = { version: 1, reference: `${host}/app:1`, registry: host, repository: "app", pulledAt, logins };
    await Deno.writeTextFile(temp.join(`root/state/pulled/${"a".repeat(64)}.json`), JSON.stringify(record));
  };
  await pull("right");
  const say = await judge(temp);
  assert.equal(say("logins").seen, `${host} (from nydus-gd pull)`);
  assert.deepEqual([say(name).verdict, say(name).seen], ["ok", "answers with our login"]);
  await pull("expired");
  const refused = (await judge(temp))(name);
  assert.equal(refused.verdict, "fail");
  assert.match(refused.seen, /from nydus-gd pull .*app:1 of 20/);
  assert.match(refused.mend ?? "", /docker login .*nydus-gd pull .*app:1/);
  assert.doesNotMatch(JSON.stringify(refused), /expired/);
});

Deno.test("an object store that rejects this machine's clock reports the difference", async () => {
  using temp = TempDir.make();
  await using bucket = await FakeBucket.start("s3", { clockAheadMs: 2 * 3600_000 });
  const config = { version: 2, backend: { type: "s3", s3: bucket.section() } };
  await Deno.writeTextFile(temp.join("config.json"), JSON.stringify(config));
  const { verdict, seen, mend } = (await judge(temp))("backend s3");
  assert.equal(verdict, "fail", seen);
  assert.match(seen, /this machine's clock is 120 minutes behind the server's/);
  assert.match(mend ?? "", /clock|timedatectl/);
});

Deno.test("the configured registry is requested for a blob and for its time", async () => {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start();
  const backend = { type: "registry", config: { host: registry.host, repo: "app", scheme: "http" } };
  await Deno.writeTextFile(temp.join("config.json"), JSON.stringify({ device: { backend }, mode: "direct" }));
  const say = await judge(temp);
  assert.equal(say("backend registry").verdict, "ok", say("backend registry").seen);
  assert.equal(say(`registry ${registry.host}`).verdict, "ok");
});

Deno.test("a registry whose clock differs is reported", async () => {
  for (const [seconds, verdict] of [[0, "ok"], [120, "warn"], [-120, "warn"], [3600, "fail"]] as const) {
    using temp = TempDir.make();
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
      const date = new Date(Date.now() - seconds * 1000).toUTCString();
      return Response.json({}, { headers: { date } });
    });
    await logIn(temp, `127.0.0.1:${server.addr.port}`, "me", "right");
    const { verdict: actual, seen } = (await judge(temp))(`registry 127.0.0.1:${server.addr.port}`);
    assert.equal(actual, verdict, seen);
    if (verdict !== "ok") assert.match(seen, seconds > 0 ? /ahead of its/ : /behind its/);
  }
});
