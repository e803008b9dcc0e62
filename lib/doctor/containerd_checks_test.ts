import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/machine/doctor_installation.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import type { CheckResult } from "./check.ts";
import { containerdChecks } from "./containerd_checks.ts";

/** Results of the checks for a machine whose containerd has this configuration. */
async function judge(config: string | undefined): Promise<(name: string) => CheckResult> {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("host/usr/bin"), { recursive: true });
  await Deno.writeTextFile(temp.join("host/usr/bin/containerd"), "");
  if (config !== undefined) {
    await Deno.mkdir(temp.join("host/etc/containerd"), { recursive: true });
    const text = config.replaceAll("SOCKET", temp.join("snapshotter.sock"));
    await Deno.writeTextFile(temp.join("host/etc/containerd/config.toml"), text);
  }
  using installation = await installationIn(temp);
  const found = await results(containerdChecks(installation));
  return (name) => found.get(name) ?? assert.fail(`no check ${name}`);
}

const WITHOUT_ROOT = '[proxy_plugins.nydus-gd]\ntype = "snapshot"\naddress = "SOCKET"\n';
const REGISTERED = `${WITHOUT_ROOT}[proxy_plugins.nydus-gd.exports]\nroot = "/var/lib/nydus-gd/snapshotter"\n`;

Deno.test("a containerd without our snapshotter is told how to get it, and nothing else is checked", async () => {
  for (const config of [undefined, "version = 2\n"]) {
    const say = await judge(config);
    assert.deepEqual([say("proxy plugin").verdict, say("proxy plugin").mend], [
      "skipped",
      "nydus-gd setup --target containerd",
    ]);
    for (const name of ["snapshotter socket", "snapshotter", "Kubernetes"]) assert.equal(say(name).verdict, "skipped");
  }
});

Deno.test("a snapshotter that is registered but not served, and a containerd that cannot be asked, are reported", async () => {
  const say = await judge(REGISTERED);
  assert.equal(say("proxy plugin").verdict, "ok");
  assert.deepEqual([say("snapshotter socket").verdict, say("Kubernetes").verdict], ["fail", "ok"]);
  assert.match(say("snapshotter socket").seen, /there is no .*snapshotter\.sock/);
  assert.equal(say("snapshotter").verdict, "skipped");
});

Deno.test("a second name for the snapshotter is a failure that names it", async () => {
  const second = REGISTERED.replaceAll("nydus-gd]", "nydus]").replace("nydus-gd.exports", "nydus.exports");
  const { verdict, mend } = (await judge(REGISTERED + second))("proxy plugin");
  assert.deepEqual([verdict, mend], ["fail", "remove proxy_plugins.nydus"]);
});

Deno.test("a snapshotter that leads to our socket by another name is known by that", async () => {
  const named = REGISTERED.replaceAll("nydus-gd]", "nydus]").replace("nydus-gd.exports", "nydus.exports")
    .replace("SOCKET", "/run/nydus-gd/snapshotter.sock");
  const cri = '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "nydus"\n';
  const say = await judge(named + cri);
  assert.deepEqual([say("proxy plugin").verdict, say("proxy plugin").seen], [
    "ok",
    "nydus at /run/nydus-gd/snapshotter.sock",
  ]);
  assert.match(say("Kubernetes").seen, /keeps from nydus what it prepares/);
});

Deno.test("a configuration that containerd cannot read is a failure with its line", async () => {
  const { verdict, seen } = (await judge("version = 2\nx = [\n"))("proxy plugin");
  assert.equal(verdict, "fail");
  assert.match(seen, /Cannot read \/etc\/containerd\/config\.toml: line \d/);
});

Deno.test("a Kubernetes that keeps from the snapshotter what it prepares is a warning", async () => {
  const cri = '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "nydus-gd"\n';
  assert.equal((await judge(REGISTERED + cri))("Kubernetes").verdict, "warn");
  assert.equal((await judge(`${REGISTERED}${cri}disable_snapshot_annotations = false\n`))("Kubernetes").verdict, "ok");
});

Deno.test("a Kubernetes that is not told the file system of snapshots is a warning with the line that does", async () => {
  const cri = '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "nydus-gd"\n';
  const { verdict, mend } = (await judge(`${WITHOUT_ROOT}${cri}disable_snapshot_annotations = false\n`))("Kubernetes");
  assert.deepEqual([verdict, mend], [
    "warn",
    'root = "/var/lib/nydus-gd/snapshotter" in [proxy_plugins.nydus-gd.exports]',
  ]);
});

Deno.test("damaged snapshots are a failure that names them, whether or not anybody serves them", async () => {
  using temp = TempDir.make();
  const folder = temp.join("root/snapshotter/snapshots");
  const write = async (number: number, record: unknown) => {
    await Deno.mkdir(`${folder}/${number}`, { recursive: true });
    await Deno.writeTextFile(`${folder}/${number}/record.json`, JSON.stringify(record));
  };
  const time = { seconds: 1, nanos: 0 };
  const record = { version: 1, labels: [], created: time, updated: time };
  await write(1, { ...record, kind: "committed", name: "5/moby/base", parent: "" });
  await write(2, { ...record, kind: "active", name: "6/moby/box", parent: "5/moby/base" });
  using installation = await installationIn(temp);
  const judged = async () => (await results(containerdChecks(installation))).get("snapshot records");
  assert.deepEqual([(await judged())?.verdict, (await judged())?.seen], ["ok", "2 snapshots, none damaged"]);

  await write(1, "damaged");
  const { verdict, seen = "", mend } = await judged() ?? assert.fail();
  assert.equal(verdict, "fail");
  assert.match(seen, /^snapshot 1 is damaged: Cannot read ".*\/snapshots\/1\/record\.json": Invalid type: .*; /);
  assert.match(seen, /snapshot "5\/moby\/base" is gone, without which these cannot be used: "6\/moby\/box"$/);
  assert.equal(mend, `save what you need of ${folder}/1/fs, then delete ${folder}/1`);
});
