/**
 * `nydus-gd setup` for a Docker without graph drivers, on a machine with systemd as process 1: the executable, real units,
 * restarts, a reboot and a power cut under containers of a lazy image, and undo.
 *
 * @module
 */
import assert from "node:assert/strict";
import { dockerSystem, makeDockerSystem } from "../support/docker/docker_system.ts";
import { CountedRegistry, dockerMissing } from "../support/docker/docker_stack.ts";
import { buildProgram } from "../support/process/built_program.ts";
import { fetchesMetadataOnly, largeFilesLayer, pusherInto, sumsOf } from "../support/docker/large_files_image.ts";
import { SystemdMachine, systemdMachineMissing } from "../support/machine/systemd_machine.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const missing = dockerMissing() ?? await systemdMachineMissing() ?? await makeDockerSystem("28");
if (missing !== undefined) console.log(`skipped: ${missing}`);
const ignore = missing !== undefined;

const SERVICES = ["nydus-gd", "containerd", "docker"];
const CONTAINERD_CONFIG = "/etc/containerd/config.toml";
/** Without a bridge, as the network is shared with this machine; cgroups without systemd's bus. */
const DAEMON_JSON = `{
  "bridge": "none", "iptables": false, "ip6tables": false,
  "exec-opts": ["native.cgroupdriver=cgroupfs"]
}
`;
/** Started again with the machine, and ended without a wait. */
const KEPT = ["--detach", "--restart", "always", "--stop-timeout", "1", "--network", "none"];
const FOREVER = ["sleep", "infinity"];

/** Runs the test on a machine with Docker's own image store, a container in it, and the executable of nydus-gd. */
async function withMachine(test: (machine: SystemdMachine, registry: CountedRegistry) => Promise<void>): Promise<void> {
  using temp = TempDir.make();
  await using registry = await CountedRegistry.start(temp.path);
  await pusherInto(registry, "app").classic([await largeFilesLayer()], { tag: "1" });
  await using machine = await SystemdMachine.start(dockerSystem("28"));
  await buildProgram(machine.outside, "--no-deb");
  await machine.must("install", "/outside/nydus-gd", "/usr/local/bin/");
  await machine.write("/etc/docker/daemon.json", DAEMON_JSON);
  const settings = [
    `fetch.trusted_origins = ["${registry.host}"]`,
    "prefetch.enabled = false",
    "prefetch.read_ahead = 0",
  ];
  await machine.write("/etc/nydus-gd/settings.toml", settings.join("\n"));
  await machine.must("systemctl", "enable", "--now", "containerd", "docker.socket", "docker");
  await machine.must("docker", "run", ...KEPT, "--name", "before", await registry.pushClassic("before"), ...FOREVER);
  await test(machine, registry);
}

/** Docker's storage driver, and the names of its running containers. */
async function docker(machine: SystemdMachine): Promise<string[]> {
  const driver = await machine.must("docker", "info", "--format", "{{.Driver}}");
  const names = (await machine.must("docker", "ps", "--format", "{{.Names}}")).split("\n");
  return [driver, ...names.filter((name) => name !== "").sort()];
}

/** Files and links of /etc, with their content. */
function configuration(machine: SystemdMachine): Promise<string> {
  return machine.must(
    "sh",
    "-c",
    "find /etc -type f -exec sha256sum {} + | sort -k 2; find /etc -type l -printf '%p %l\\n' | sort",
  );
}

Deno.test({
  name: "setup puts a Docker without graph drivers on lazy images, which outlive restarts, and is undone",
  ignore,
}, (t) =>
  withMachine(async (machine, registry) => {
    const [ordinary, lazy] = [`${registry.host}/app:1`, `${registry.host}/app:1-lazy`];
    const before = await configuration(machine);
    const [driver = ""] = await docker(machine); // overlay2, or, where containerd has the images by default, overlayfs
    const images = () => machine.must("docker", "images", "--all", "--quiet");
    let shownBefore: string | undefined; // that of the first container, where containerd has the images by default
    const isBack = (...names: string[]) =>
      until("Docker has its containers", async () => (await docker(machine)).join() === names.join(), 100);
    const reads = async (...files: number[]) => {
      const paths = files.map((file) => `/data/${file}`);
      assert.equal(await machine.must("docker", "exec", "lazy", "sha256sum", ...paths), sumsOf(...files));
    };
    await t.step("a table for Kubernetes that this containerd ignores is pointed out, until one is there", async () => {
      const keys = 'snapshotter = "nydus-gd"\ndisable_snapshot_annotations = false\n';
      const noted = async (config: string) => {
        await machine.write(CONTAINERD_CONFIG, config);
        return await machine.must("nydus-gd", "setup", "--dry-run");
      };
      const asBefore = await machine.must("cat", CONTAINERD_CONFIG);
      const ignored = `version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n${keys}`;
      assert.match(
        await noted(ignored),
        /containerd ignores .*: Kubernetes is on overlayfs.*\[plugins\."io\.containerd\.cri\.v1\.images"\] with/s,
      );
      assert.doesNotMatch(await noted(`${ignored}[plugins."io.containerd.cri.v1.images"]\n${keys}`), /Kubernetes/);
      await machine.write(CONTAINERD_CONFIG, `${asBefore}\n`);
    });
    await t.step("setup finds out what Docker needs, and doctor finds nothing wrong", async () => {
      const { code, stdout, stderr } = await machine.run("nydus-gd", "setup", "--yes");
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, new RegExp(`all containers of ${driver} stay`, "i"));
      assert.match(stdout, /ok {4}snapshots +\/var\/lib\/nydus-gd\/snapshotter on \w+: an overlay was mounted/);
      assert.match(stdout, /^0 failed, 0 warnings/m);
      assert.deepEqual(await docker(machine), ["nydus-gd"]);
      shownBefore = await images();
      assert.match(await machine.must("nydus-gd", "setup", "--yes"), /^Nothing to do/);
    });
    await t.step("a converted image is pulled without its data, which a container gets on demand", async () => {
      await machine.must("nydus-gd", "convert", ordinary, lazy);
      await fetchesMetadataOnly(registry, () => machine.must("docker", "pull", "--quiet", lazy));
      await machine.must("docker", "run", ...KEPT, "--name", "lazy", lazy, ...FOREVER);
      await machine.must("docker", "run", ...KEPT, "--name", "plain", ordinary, ...FOREVER);
      await machine.must("docker", "exec", "lazy", "sh", "-c", "echo written >/data/new");
      await reads(1);
    });
    await t.step(
      "the container reads on while each service is restarted, and after a reboot and a power cut",
      async () => {
        for (const [index, service] of SERVICES.entries()) {
          await machine.must("systemctl", "restart", service);
          await isBack("nydus-gd", "lazy", "plain");
          await reads(index + 2);
        }
        for (const boot of [() => machine.reboot(), () => machine.crash()]) {
          await boot();
          await isBack("nydus-gd", "lazy", "plain");
          await reads(1, 2, 3, 4);
          assert.equal(await machine.must("docker", "exec", "lazy", "cat", "/data/new"), "written");
        }
        const { code, stdout } = await machine.run("nydus-gd", "doctor");
        assert.equal(code, 0, stdout);
      },
    );
    await t.step("undo is refused while they run, and then gives the machine back as it was", async () => {
      const refused = await machine.run("nydus-gd", "setup", "--undo", "--yes");
      assert.match(
        refused.stderr,
        /^nydus-gd: cannot undo setup: Docker would lose 2 running containers on nydus-gd: \w+, \w+\n/,
      );
      assert.notEqual(await machine.ourProcesses(), "");
      await machine.must("docker", "stop", "lazy", "plain");
      const { code, stdout, stderr } = await machine.run("nydus-gd", "setup", "--undo", "--yes");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /Cache, state and snapshots stay in \/var\/lib\/nydus-gd/);
      assert.doesNotMatch(stderr, /warning|killed/);
      assert.equal(await configuration(machine), before);
      await isBack(driver, "before");
      assert.doesNotMatch(await machine.must("cat", "/proc/mounts"), /nydus-gd\/(images|erofs)/);
      assert.equal(await machine.ourProcesses(), "");
    });
    await t.step("set up again, everything is there again, and leaves nothing when it is removed", async () => {
      await machine.must("nydus-gd", "setup", "--yes");
      await isBack("nydus-gd", "lazy", "plain");
      await reads(1, 2, 3, 4);
      await machine.must("docker", "rm", "--force", "lazy", "plain");
      await machine.must("docker", "rmi", ordinary, lazy);
      const folders = ["snapshotter/snapshots", "snapshotter/removing", "erofs"].map((name) =>
        `/var/lib/nydus-gd/${name}`
      );
      assert.equal(await machine.must("find", ...folders, "-mindepth", "1"), "");
      assert.equal(await images(), shownBefore);
    });
  }));
