import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/doctor_installation.ts";
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

const REGISTERED = '[proxy_plugins.nydus-gd]\ntype = "snapshot"\naddress = "SOCKET"\n';

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
