import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/machine/doctor_installation.ts";
import { type FakeDockerState, plainDocker, serveFakeDocker } from "../../tests/support/docker/fake_docker.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { loadLayer } from "../layer/record/layer.ts";
import { HomePaths } from "../layer/record/layer_paths.ts";
import { makePlainLayer } from "../../tests/support/layer/plain_layer.ts";
import { servedHomePath } from "../layer/home/served_home.ts";
import type { CheckResult } from "./check.ts";
import { dockerChecks } from "./docker_checks.ts";

/** Results of the checks for a Docker that differs from {@link plainDocker}. */
async function judge(change: (docker: FakeDockerState) => void): Promise<(name: string) => CheckResult> {
  using temp = TempDir.make();
  const state = plainDocker();
  change(state);
  await using _server = serveFakeDocker(temp.join("docker.sock"), state);
  using installation = await installationIn(temp);
  const found = await results(dockerChecks(installation));
  return (name) => found.get(name) ?? assert.fail(`no check ${name}`);
}

Deno.test("a Docker that uses our driver is ok", async () => {
  const say = await judge(({ info }) => Object.assign(info, { Driver: "nydus-gd", ExperimentalBuild: true }));
  for (const name of ["daemon", "version", "storage driver", "image store", "user namespaces"]) {
    assert.equal(say(name).verdict, "ok", `${name}: ${say(name).seen}`);
  }
  assert.match(say("daemon").seen, /^20\.10\.24 at unix:/);
});

Deno.test("for another driver setup is suggested", async () => {
  const { verdict, seen, mend } = (await judge(() => {}))("storage driver");
  assert.deepEqual([verdict, mend], ["fail", "nydus-gd setup"]);
  assert.equal(seen, "overlay2 is in use, not nydus-gd; dockerd is started without experimental features");
});

Deno.test("each version of Docker is judged by its support for plugins", async () => {
  const cases: [version: string, verdict: CheckResult["verdict"], seen: RegExp][] = [
    ["19.03.15", "warn", /older than 20\.10/],
    ["20.10.24+dfsg1", "ok", /supports graph-driver plugins/],
    ["26.1.5", "ok", /supports graph-driver plugins/],
    ["27.5.1", "ok", /DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1/],
    ["28.0.0", "ok", /supports snapshotters of containerd/],
    ["29.1.0", "ok", /supports snapshotters of containerd/],
    ["dev", "warn", /not a known version/],
  ];
  for (const [version, verdict, seen] of cases) {
    const result = (await judge((docker) => docker.version = version))("version");
    assert.equal(result.verdict, verdict, version);
    assert.match(result.seen, seen);
  }
});

Deno.test("conditions that keep lazy images from starting are reported", async () => {
  const store = await judge(({ info }) => info["DriverStatus"] = [["driver-type", "io.containerd.snapshotter.v1"]]);
  assert.match(store("image store").seen, /containerd stores the images/);
  assert.equal(store("image store").verdict, "fail");
  const rootless = await judge(({ info }) => info["SecurityOptions"] = ["name=seccomp", "name=rootless"]);
  assert.equal(rootless("user namespaces").verdict, "fail");
  const remapped = await judge(({ info }) => info["SecurityOptions"] = ["name=userns"]);
  // "skipped" without root, "warn" on an older kernel
  assert.match(
    remapped("user namespaces").seen,
    /^userns-remap: (the owners|ordinary images work|mounting needs root)/,
  );
});

Deno.test("a Docker without graph drivers has to keep its images in containerd, with our snapshotter", async () => {
  const IN_CONTAINERD = { DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]] };
  const cases: [info: Record<string, unknown>, driver: CheckResult["verdict"], store: CheckResult["verdict"]][] = [
    [{ Driver: "nydus-gd", ...IN_CONTAINERD }, "ok", "ok"],
    [{ Driver: "overlayfs", ...IN_CONTAINERD }, "fail", "ok"],
    [{ Driver: "overlay2" }, "fail", "fail"],
  ];
  for (const [info, driver, store] of cases) {
    const say = await judge((docker) => {
      docker.version = "28.5.2";
      Object.assign(docker.info, info);
    });
    assert.deepEqual([say("storage driver").verdict, say("image store").verdict], [driver, store]);
    for (const name of ["storage driver", "image store"]) {
      if (say(name).verdict === "fail") assert.equal(say(name).mend, "nydus-gd setup");
    }
    assert.doesNotMatch(say("storage driver").seen, /experimental/);
  }
});

Deno.test("where only containerd is set up there may be no Docker, or one with another driver", async () => {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("host/etc/containerd"), { recursive: true });
  const table = '[proxy_plugins.nydus-gd]\ntype = "snapshot"\naddress = "/run/nydus-gd/snapshotter.sock"\n';
  await Deno.writeTextFile(temp.join("host/etc/containerd/config.toml"), table);
  {
    using installation = await installationIn(temp);
    const daemon = (await results(dockerChecks(installation))).get("daemon");
    assert.deepEqual([daemon?.verdict, daemon?.seen], ["skipped", "there is no Docker; containerd is set up"]);
  }
  for (const [version, verdict] of [["26.1.5", "skipped"], ["28.5.2", "fail"]] as const) {
    await using _server = serveFakeDocker(temp.join("docker.sock"), { ...plainDocker(), version });
    using installation = await installationIn(temp);
    assert.equal((await results(dockerChecks(installation))).get("storage driver")?.verdict, verdict);
  }
});

Deno.test("a response that is not Docker's is a failure, not a crash", async () => {
  const say = await judge(({ info }) => delete info["Driver"]);
  assert.match(say("daemon").seen, /Cannot ask Docker: its response is not understood: Driver is missing/);
  assert.equal(say("storage driver").verdict, "skipped");
});

Deno.test({
  name: "damaged layers are a failure that names them, whether or not anybody serves them",
  ignore: Deno.uid() !== 0, // making a layer takes root, and so does looking at it
  async fn() {
    using temp = TempDir.make();
    const home = new HomePaths(temp.join("home"));
    await Deno.mkdir(home.links, { recursive: true });
    await Deno.mkdir(temp.join("root/state"), { recursive: true });
    await Deno.writeTextFile(servedHomePath(temp.join("root/state")), JSON.stringify({ home: home.home }));
    using installation = await installationIn(temp);
    const look = async () => (await results(dockerChecks(installation))).get("layer records");
    await makePlainLayer(home, "base");
    await makePlainLayer(home, "top", await loadLayer(home, "base"));
    assert.equal((await look())?.verdict, "ok");
    await Deno.writeTextFile(home.layer("top").lower, "l/AA");
    await Deno.writeTextFile(home.layer("base").record, "{");
    const found = await look();
    assert.equal(found?.verdict, "fail");
    assert.match(found?.seen ?? "", /layer top is damaged: .*file lower is damaged/);
    assert.match(found?.seen ?? "", /layer base is damaged: Cannot read ".*\/base\/layer\.json"/);
    assert.match(found?.mend ?? "", /^save what you need of .*\/diff, then remove the container or the images/);
    const record = temp.join(`image/home/layerdb/sha256/${"a".repeat(64)}`);
    await Deno.mkdir(record, { recursive: true });
    assert.match((await look())?.seen ?? "", /; Docker's record of a layer is damaged: cache-id names no layer in /);
  },
});
