import assert from "node:assert/strict";
import { installationIn, results } from "../../tests/support/doctor_installation.ts";
import { type FakeDockerState, plainDocker, serveFakeDocker } from "../../tests/support/fake_docker.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
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
    ["28.0.0", "fail", /no longer supports graph-driver plugins/],
    ["29.1.0", "fail", /no longer supports graph-driver plugins/],
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
  assert.match(remapped("user namespaces").seen, /lazy ones are refused/);
});

Deno.test("a response that is not Docker's is a failure, not a crash", async () => {
  const say = await judge(({ info }) => delete info["Driver"]);
  assert.match(say("daemon").seen, /Cannot ask Docker: its response is not understood: Driver is missing/);
  assert.equal(say("storage driver").verdict, "skipped");
});
