/**
 * `nydus-gd setup` on a machine with systemd as process 1 and Debian's Docker: the built package, real units, real
 * restarts, containers running meanwhile.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DAEMON_JSON, installPackage, property, withDockerMachine } from "../support/machine/docker_machine.ts";
import { CountedRegistry, dockerMissing } from "../support/docker/docker_stack.ts";
import { fixtureOf, readListing } from "../support/rafs/rafs_fixtures.ts";
import { type SystemdMachine, systemdMachineMissing } from "../support/machine/systemd_machine.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const missing = dockerMissing() ?? await systemdMachineMissing();
if (missing !== undefined) console.log(`skipped: ${missing}`);
const ignore = missing !== undefined;

const IMAGE = "v6-prefetch-fs";
const UNIT = "nydus-gd.service";

/** Makes /tmp/next.deb: our package, whose Workers leave a mark, with another name for its version's folder. */
const NEXT_VERSION = `set -e
dpkg-deb --raw-extract /outside/nydus-gd_*.deb /tmp/next
old=$(ls /usr/lib/nydus-gd/running)
new=$(echo "$old" | tr 0-9a-f a-f0-9)
cd /tmp/next
sed -i "s/$old/$new/g" usr/bin/nydus-gd DEBIAN/postinst DEBIAN/prerm
sed -i '1i Deno.writeTextFileSync("/tmp/next-worker", "");' usr/lib/nydus-gd/*_worker.js
sed -i 's/^Version: .*/Version: 0.1.1/' DEBIAN/control
rm -f DEBIAN/md5sums
dpkg-deb --root-owner-group -Znone --build . /tmp/next.deb
rm -r /tmp/next`;

/** Reads a file of the lazy image in the container and compares it. */
async function readsRight(machine: SystemdMachine, container: string, index: number): Promise<void> {
  const files = readListing(fixtureOf(IMAGE).listing).filter(({ type, size = 0 }) => type === "reg" && size > 0);
  const file = files.at(index) ?? assert.fail("the image has no such file");
  const path = decodeURIComponent(file.path);
  const seen = await machine.must("docker", "exec", container, "/bin/sha256sum", path);
  assert.equal(seen.split(" ")[0], file.sha256);
}

/** Asserts that Docker is on overlay2 with its image, and nothing of setup is left. */
async function isAsBefore(machine: SystemdMachine): Promise<void> {
  assert.equal(await driver(machine), "overlay2");
  assert.match(await machine.must("docker", "image", "ls"), /^box\s/m);
  assert.equal(await machine.must("cat", "/etc/docker/daemon.json"), DAEMON_JSON.trim());
  assert.equal(await machine.must("find", "/etc/systemd/system", "-name", "*nydus*"), "");
  assert.equal(await property(machine, UNIT, "LoadState"), "not-found");
}

/** Kills processes of our unit and waits for the next daemon: a call that Docker repeats has no body. */
async function killed(machine: SystemdMachine, whom: "main" | "all"): Promise<void> {
  const before = await property(machine, UNIT, "NRestarts");
  await machine.must("systemctl", "kill", `--kill-whom=${whom}`, "--signal=KILL", UNIT);
  await until("the unit was restarted", async () => await property(machine, UNIT, "NRestarts") !== before, 50);
  await machine.must("systemctl", "start", UNIT);
}

function driver(machine: SystemdMachine): Promise<string> {
  return machine.must("docker", "info", "--format", "{{.Driver}}");
}

/** What setup shows and refuses, with Docker and its machine unchanged. */
async function refusesAndShows(t: Deno.TestContext, machine: SystemdMachine): Promise<void> {
  await t.step("an upgrade of the package before any setup says nothing of a service", async () => {
    assert.equal(await installPackage(machine), "");
  });
  await t.step("a dry run shows everything, and changes nothing", async () => {
    const { code, stdout } = await machine.run("nydus-gd", "setup", "--dry-run");
    assert.equal(code, 0);
    assert.match(stdout, /^\+ExecStart=\/usr\/bin\/nydus-gd serve$/m);
    assert.match(
      stdout,
      /^- {2}"storage-driver": "overlay2"\n\+ {2}"storage-driver": "nydus-gd",\n\+ {2}"experimental": true$/m,
    );
    assert.match(
      stdout,
      /Then:\n {2}systemctl daemon-reload\n {2}systemctl restart nydus-gd\.service\n {2}systemctl restart docker/,
    );
    assert.match(stdout, /1 image and all containers of overlay2 stay in \/var\/lib\/docker/);
    assert.equal(await driver(machine), "overlay2");
    assert.equal(await machine.must("cat", "/etc/docker/daemon.json"), DAEMON_JSON.trim());
  });
  await t.step("without a terminal to ask on it is wrong usage", async () => {
    const { code, stderr } = await machine.run("nydus-gd", "setup");
    assert.deepEqual([code, stderr], [
      2,
      "nydus-gd: cannot ask: standard input is not a terminal\nhint: --yes, or --dry-run\n",
    ]);
  });
  await t.step("a service that fails to start leaves the machine unchanged", async () => {
    const docker = await property(machine, "docker.service", "MainPID");
    await machine.write("/var/lib/nydus/config.json", "{");
    const { code, stderr } = await machine.run("nydus-gd", "setup", "--yes");
    assert.equal(code, 1);
    const reason = "cannot read configuration /var/lib/nydus/config.json: it is not valid JSON";
    const sentence = `cannot set up: cannot start ${UNIT}: ${reason}`;
    assert.ok(stderr.includes(`\nnydus-gd: ${sentence}`), stderr);
    assert.match(stderr, /; everything is as it was\nhint: edit \/var\/lib\/nydus\/config\.json\n$/);
    await isAsBefore(machine);
    assert.equal(await property(machine, "docker.service", "MainPID"), docker, "Docker was not disturbed");
    await machine.must("rm", "/var/lib/nydus/config.json");
  });
  await t.step("a masked service is refused at once, with what to do", async () => {
    for (const [service, target] of [["docker.service", "docker"], ["containerd.service", "containerd"]] as const) {
      await machine.must("systemctl", "mask", service);
      const { code, stderr } = await machine.run("nydus-gd", "setup", "--yes", "--target", target);
      assert.equal(code, 1);
      assert.equal(
        stderr,
        `nydus-gd: cannot set up ${service}: it is masked, so that systemd does not start it\n` +
          `hint: systemctl unmask ${service}\n`,
      );
      await machine.must("systemctl", "unmask", service);
    }
    await isAsBefore(machine);
  });
  await t.step("of a service that does not start the last lines of its log are shown", async () => {
    const dropIn = "/etc/systemd/system/containerd.service.d";
    await machine.write(
      `${dropIn}/broken.conf`,
      "[Service]\nExecStartPre=/bin/sh -c 'echo no luck today; exit 1'\n",
    );
    await machine.must("systemctl", "daemon-reload");
    const { code, stderr } = await machine.run("nydus-gd", "setup", "--yes", "--target", "containerd");
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /cannot start containerd\.service: (.* \| )?no luck today; putting everything back failed, too/,
    );
    await machine.must("rm", "--recursive", dropIn);
    await machine.must("systemctl", "daemon-reload");
    await machine.must("systemctl", "start", "containerd", "docker");
    await machine.must("nydus-gd", "setup", "--undo", "--yes");
    await isAsBefore(machine);
  });
  await t.step("a setup that would detach running containers from Docker is refused", async () => {
    await machine.must(
      "docker",
      "run",
      "-d",
      ...["--name", "web", "--network", "none"],
      "box",
      "/bin/sleep",
      "infinity",
    );
    const plan = await machine.must("nydus-gd", "setup", "--dry-run");
    assert.match(
      plan,
      /Restarting Docker stops 1 running container: web\. What they hold stays on disk with overlay2\./,
    );
    await machine.write("/etc/docker/daemon.json", DAEMON_JSON.replace("{", '{ "live-restore": true,'));
    await machine.must("systemctl", "reload", "docker");
    const { code, stderr } = await machine.run("nydus-gd", "setup", "--yes");
    assert.equal(code, 1);
    assert.match(
      stderr,
      /live-restore keeps 1 running container of overlay2, .*: web\nhint: docker stop web …, or --force/,
    );
    await machine.must("docker", "rm", "--force", "web");
    await machine.write("/etc/docker/daemon.json", DAEMON_JSON);
    await machine.must("systemctl", "reload", "docker");
  });
}

/** Setup for Docker, its units, and a second run. */
async function setsUpDocker(t: Deno.TestContext, machine: SystemdMachine): Promise<void> {
  await t.step("after setup doctor finds nothing wrong", async () => {
    const { code, stdout, stderr } = await machine.run("nydus-gd", "setup", "--yes");
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /Everything is set up/);
    assert.match(stdout, /ok {4}service +active \(running\)\n/);
    assert.match(stdout, /ok {4}storage driver +nydus-gd is in use\n/);
    assert.match(stdout, /ok {4}mount by fuse +\d+ bytes read/);
    assert.equal(await driver(machine), "nydus-gd");
  });
  await t.step("the units are valid and ordered for systemd", async () => {
    const { stdout, stderr } = await machine.run("systemd-analyze", "verify", UNIT, "docker.service");
    assert.doesNotMatch(stdout + stderr, /nydus-gd/);
    assert.match(await property(machine, "docker.service", "After"), /\bnydus-gd\.service\b/);
    assert.match(await property(machine, "docker.service", "Wants"), /\bnydus-gd\.service\b/);
    assert.equal(await property(machine, UNIT, "UnitFileState"), "enabled");
    await machine.must("systemctl", "stop", "docker.socket", "docker", UNIT);
    await machine.must("systemctl", "start", "docker");
    const ready = (unit: string) => property(machine, unit, "ActiveEnterTimestampMonotonic").then(Number);
    const started = Number(await property(machine, "docker.service", "ExecMainStartTimestampMonotonic"));
    assert.ok(await ready(UNIT) <= started, "Docker was started before its driver was ready");
  });
  await t.step("a second run has nothing to do", async () => {
    assert.match(await machine.must("nydus-gd", "setup", "--yes"), /^Nothing to do/);
  });
}

/** Runs the container "app" of the image through stops, kills, upgrades and failures of our service and of Docker. */
async function survives(t: Deno.TestContext, machine: SystemdMachine, image: string): Promise<void> {
  await t.step("a container of a lazy image survives stop and kill of the daemon", async () => {
    const words = ["--name", "app", "--network", "none", image, "/bin/sleep", "infinity"];
    await machine.must("docker", "run", "-d", ...words);
    await readsRight(machine, "app", 0);
    assert.doesNotMatch(await machine.must("nydus-gd", "status"), /descriptors, \d+ are needed/);
    await killed(machine, "main");
    await readsRight(machine, "app", 1);
    // the keeper as well: only systemd's descriptor store remains
    await killed(machine, "all");
    await readsRight(machine, "app", 5);
    await machine.must("systemctl", "stop", UNIT);
    const { code, stdout } = await machine.run("nydus-gd", "doctor");
    assert.equal(code, 3);
    assert.match(stdout, /warn {2}service +inactive \(dead\).*\n +fix: systemctl start nydus-gd\.service\n/);
    assert.match(
      stdout,
      /FAIL {2}lazy images +no daemon is serving: programs wait when they read data that is not cached\n/,
    );
    await machine.must("systemctl", "start", UNIT);
    await readsRight(machine, "app", 3);
  });
  await t.step("an upgrade restarts the daemon, which until then starts Workers of its own version", async () => {
    const before = await property(machine, UNIT, "MainPID");
    await machine.must("sh", "-c", NEXT_VERSION);
    await machine.must("dpkg", "--unpack", "/tmp/next.deb");
    await machine.must("docker", "commit", "app", "copy"); // by the Workers that compare layers
    assert.equal(await property(machine, UNIT, "MainPID"), before);
    const isNew = ["test", "-e", "/tmp/next-worker"] as const;
    assert.equal((await machine.run(...isNew)).code, 1, "a Worker of the next version ran in the old daemon");
    await machine.must("dpkg", "--configure", "nydus-gd");
    assert.notEqual(await property(machine, UNIT, "MainPID"), before);
    await readsRight(machine, "app", 2);
    assert.equal((await machine.run(...isNew)).code, 0, "the new daemon runs the next version");
    assert.match(await machine.must("ls", "/usr/lib/nydus-gd/running"), /^\w{32}$/, "nothing is left of the old one");
    await machine.must("docker", "rmi", "copy");
    await installPackage(machine);
  });
  await t.step("doctor reports a service that no longer starts; containers continue once it does", async () => {
    const dropIn = `/etc/systemd/system/${UNIT}.d/broken.conf`;
    await machine.write(dropIn, "[Service]\nExecStartPre=/bin/false\nRestart=no\n");
    await machine.must("systemctl", "daemon-reload");
    assert.notEqual((await machine.run("systemctl", "restart", UNIT)).code, 0);
    const { code, stdout } = await machine.run("nydus-gd", "doctor");
    assert.equal(code, 3);
    assert.match(stdout, /FAIL {2}service +failed \(failed\)\n +fix: journalctl -u nydus-gd\.service -n 50\n/);
    await machine.must("rm", "--recursive", `/etc/systemd/system/${UNIT}.d`);
    await machine.must("systemctl", "daemon-reload");
    await machine.must("systemctl", "start", UNIT);
    await readsRight(machine, "app", 6);
  });
  await t.step("a service that fails again and again says why, and a restart finds what it has lost", async () => {
    const settings = "/etc/nydus-gd/settings.toml";
    await machine.write(settings, 'cahce.dir = "/x"\n');
    assert.notEqual((await machine.run("systemctl", "restart", UNIT)).code, 0);
    const reason =
      /FAIL {2}service +activating \(.*\), restarted \d+ times since: cannot read settings .*: cahce is not/;
    await until(
      "it was tried again",
      async () => reason.test((await machine.run("nydus-gd", "doctor")).stdout),
      50,
    );
    await machine.must("rm", settings);
    await machine.must("systemctl", "restart", UNIT);
    await machine.must("rm", "/run/docker/plugins/nydus-gd.sock");
    const { stdout } = await machine.run("nydus-gd", "doctor");
    assert.match(stdout, /FAIL {2}driver socket .*\n +fix: systemctl restart nydus-gd\.service\n/);
    await machine.must("systemctl", "restart", UNIT);
    await readsRight(machine, "app", 7);
  });
  await t.step("a Docker that systemd has given up is told why, and set up again", async () => {
    const [json, on] = ["/etc/docker/daemon.json", '"experimental": true'];
    await machine.must("sed", "--in-place=.on", `s/${on}/"experimental": false/`, json);
    const journald = (signal: string) => machine.must("systemctl", "kill", `--signal=${signal}`, "systemd-journald");
    await journald("STOP"); // as on a busy machine it reads what Docker said only after its end
    await machine.run("systemctl", "restart", "docker");
    const failed = async () => await property(machine, "docker.service", "ActiveState") === "failed";
    await until("systemd has given Docker up", failed, 100);
    await journald("CONT");
    const { stdout } = await machine.run("nydus-gd", "doctor");
    assert.match(stdout, /FAIL {2}daemon +Docker does not start: .*graphdriver.*\n +fix: nydus-gd setup\n/);
    await machine.must("mv", `${json}.on`, json);
    await machine.must("nydus-gd", "setup", "--yes");
    assert.equal(await driver(machine), "nydus-gd");
    await machine.must("docker", "start", "app");
    await readsRight(machine, "app", 8);
  });
}

/** The ends of setup: refused while "app" runs, by removal of the package, and by force. */
async function isUndone(t: Deno.TestContext, machine: SystemdMachine): Promise<void> {
  await t.step("undo and removal of the package are refused while the container runs", async () => {
    const removal = await machine.run("dpkg", "--remove", "nydus-gd");
    assert.equal(removal.code, 1);
    assert.match(removal.stderr, /cannot undo setup: Docker would lose 1 running container on nydus-gd: app/);
    const { code, stderr } = await machine.run("nydus-gd", "setup", "--undo", "--yes");
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^nydus-gd: cannot undo setup: Docker would lose 1 running container on nydus-gd: app\nhint: .*--force\n$/,
    );
    assert.equal(await driver(machine), "nydus-gd");
  });
  await t.step("after it has ended the package can be removed, and Docker is back on overlay2", async () => {
    await machine.must("docker", "stop", "--time", "1", "app");
    await machine.must("dpkg", "--remove", "nydus-gd");
    await isAsBefore(machine);
    await installPackage(machine);
    assert.equal((await machine.run("nydus-gd", "setup", "--yes")).code, 0);
    await machine.must("docker", "start", "app");
    await readsRight(machine, "app", 4);
  });
  await t.step("the package can be removed even if the record of its setup is damaged", async () => {
    const record = "/var/lib/nydus-gd/setup/record.json";
    await machine.must("docker", "stop", "--time", "1", "app");
    await machine.must("cp", record, `${record}.whole`);
    await machine.write(record, "{");
    const { code, stderr } = await machine.run("dpkg", "--remove", "nydus-gd");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /cannot read .*record\.json.*\nhint: .*\nnydus-gd: removed without undoing its setup/);
    await machine.must("mv", `${record}.whole`, record);
    await installPackage(machine);
    assert.equal((await machine.run("nydus-gd", "setup", "--yes")).code, 0);
    await machine.must("docker", "start", "app");
    await readsRight(machine, "app", 4);
  });
  await t.step("with --force everything is restored, and nothing of ours runs", async () => {
    assert.notEqual(await machine.ourProcesses(), "");
    await machine.must("nydus-gd", "setup", "--undo", "--yes", "--force");
    await isAsBefore(machine);
    assert.equal(await machine.ourProcesses(), "");
    assert.doesNotMatch(await machine.must("cat", "/proc/mounts"), /nydus-gd\/(images|erofs)/);
  });
}

/** Setup for containerd alone, and the removal of everything. */
async function setsUpContainerd(t: Deno.TestContext, machine: SystemdMachine): Promise<void> {
  await t.step("containerd gets the snapshotter beside a Docker that is left alone, and loses it again", async () => {
    const config = "/etc/containerd/config.toml";
    await machine.must("sh", "-c", `mkdir -p /etc/containerd && echo "# mine" >${config}`);
    const docker = await property(machine, "docker.service", "MainPID");
    const { code, stdout, stderr } = await machine.run("nydus-gd", "setup", "--target", "containerd", "--yes");
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /systemctl restart nydus-gd\.service\n {2}systemctl restart containerd\.service\n\n/);
    assert.match(stdout, /ok {4}snapshotter +known to the running containerd\n/);
    assert.match(stdout, /overlay2 is in use; only containerd is set up/);
    assert.match(await machine.must("ctr", "plugins", "ls"), /^io\.containerd\.snapshotter\.v1 +nydus-gd .* ok/m);
    assert.match(await machine.must("nydus-gd", "setup", "--target", "containerd", "--yes"), /^Nothing to do/);
    const ours = ["--snapshotter", "nydus-gd"];
    await machine.must("docker", "save", "--output", "/tmp/box.tar", "box");
    await machine.must("ctr", "images", "import", ...ours, "/tmp/box.tar");
    const box = "docker.io/library/box:latest";
    await machine.must("ctr", "run", "--detach", "--cpu-shares", "0", ...ours, box, ...[
      "job",
      "/bin/sleep",
      "infinity",
    ]);
    const refused = await machine.run("nydus-gd", "setup", "--undo", "--yes");
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /cannot undo setup: containerd would lose 1 running container on nydus-gd: default\/job/,
    );
    await machine.must("ctr", "tasks", "rm", "--force", "job");
    await machine.must("ctr", "containers", "rm", "job");
    await machine.must("ctr", "images", "rm", "--sync", box);
    assert.equal(await machine.must("ls", "/var/lib/nydus-gd/snapshotter/snapshots"), "");
    await machine.must("nydus-gd", "setup", "--undo", "--yes");
    assert.equal(await machine.must("cat", config), "# mine");
    assert.doesNotMatch(await machine.must("ctr", "plugins", "ls"), /nydus-gd/);
    assert.equal(await property(machine, "docker.service", "MainPID"), docker, "Docker was not disturbed");
    await isAsBefore(machine);
  });
  await t.step("purged, the package leaves nothing, even where its folder is a mount point", async () => {
    await machine.must("mountpoint", "/var/lib/nydus-gd");
    await machine.must("mkdir", "/var/lib/nydus-gd/snapshotter/snapshots/1");
    const { code, stderr } = await machine.run("dpkg", "--purge", "nydus-gd");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /containerd does not know that the snapshots of its images are removed/);
    assert.equal(await machine.must("find", "/var/lib/nydus-gd", "-mindepth", "1"), "");
  });
}

Deno.test(
  { name: "setup puts Docker on lazy images, survives stops and kills, and is undone completely", ignore },
  async (t) => {
    using temp = TempDir.make();
    await using registry = await CountedRegistry.start(temp.path);
    const image = await registry.pushLazy(IMAGE, "lazy");
    await withDockerMachine(async (machine) => {
      await refusesAndShows(t, machine);
      await setsUpDocker(t, machine);
      await survives(t, machine, image);
      await isUndone(t, machine);
      await setsUpContainerd(t, machine);
    });
  },
);
