/**
 * containerd and its snapshotter as services of systemd: what calls notice of a daemon that is killed or restarted.
 *
 * @module
 */
import assert from "node:assert/strict";
import { proxyPluginTable, SNAPSHOTTER, SNAPSHOTTER_SOCKET } from "../../lib/setup/containerd/containerd_config.ts";
import { CONTAINERD_SERVICE, SERVICE, UNIT_PATH } from "../../lib/setup/unit_files.ts";
import { CONTAINERD_DROP_IN_PATH, containerdDropIn, serviceUnit } from "../../lib/setup/unit_files.ts";
import { buildProgram } from "../support/process/built_program.ts";
import { containerdMissing } from "../support/docker/containerd_stack.ts";
import { CountedRegistry } from "../support/docker/docker_stack.ts";
import { largeFilesLayer, pusherInto, sumsOf } from "../support/docker/large_files_image.ts";
import { SystemdMachine, systemdMachineMissing } from "../support/machine/systemd_machine.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const missing = containerdMissing ?? await systemdMachineMissing();
if (missing !== undefined) console.log(`skipped: ${missing}`);

const PROGRAM = "/usr/local/bin/nydus-gd";
const OURS = ["--snapshotter", SNAPSHOTTER];
/** Without Kubernetes' plugin, which wants a network, and without what it would write to /opt. */
const CONTAINERD_CONFIG = `version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri"]

${proxyPluginTable(SNAPSHOTTER_SOCKET)}`;

/** containerd waits a second for the next daemon, which other programs of a busy machine may take. */
const BEFORE_OTHERS = "[Service]\nNice=-20\n";

/** A machine with both services, and an image that containerd has unpacked. */
class Machine implements AsyncDisposable {
  private constructor(private readonly systemd: SystemdMachine, private readonly image: string) {}

  static async start(registry: CountedRegistry): Promise<Machine> {
    const systemd = await SystemdMachine.start();
    const machine = new Machine(systemd, `${registry.host}/box:1`);
    try {
      await machine.#fill(registry);
      return machine;
    } catch (error) {
      await systemd[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #fill(registry: CountedRegistry): Promise<void> {
    await pusherInto(registry, "box").classic([await largeFilesLayer()], { tag: "1" });
    const { systemd } = this;
    await buildProgram(systemd.outside, "--no-deb");
    await systemd.must("install", "/outside/nydus-gd", PROGRAM);
    await systemd.write(UNIT_PATH, serviceUnit([PROGRAM], SNAPSHOTTER_SOCKET));
    await systemd.write(CONTAINERD_DROP_IN_PATH, containerdDropIn());
    await systemd.write(`/etc/systemd/system/${SERVICE}.d/first.conf`, BEFORE_OTHERS);
    await systemd.write("/etc/containerd/config.toml", CONTAINERD_CONFIG);
    await systemd.must("systemctl", "daemon-reload");
    await systemd.must("systemctl", "start", CONTAINERD_SERVICE);
    await systemd.must("ctr", "images", "pull", "--plain-http", ...OURS, this.image);
  }

  systemctl(...words: string[]): Promise<string> {
    return this.systemd.must("systemctl", ...words);
  }

  /** Kills the daemon; resolves when it is dead, whether or not another runs. */
  async kill(): Promise<void> {
    const pid = await this.systemctl("show", SERVICE, "--property", "MainPID", "--value");
    await this.systemctl("kill", "--kill-whom=main", "--signal=KILL", SERVICE);
    await until("the daemon is dead", async () => (await this.systemd.run("test", "-e", `/proc/${pid}`)).code !== 0, 1);
  }

  /** Creates a container, runs it, and removes it. Returns its output, or why that failed. */
  async runContainer(id: string): Promise<string> {
    const words = ["run", "--rm", "--cpu-shares", "0", ...OURS, this.image, id, "/bin/sha256sum", "/data/1"];
    const { code, stdout, stderr } = await this.systemd.run("ctr", ...words);
    return code === 0 ? stdout.trim() : stderr.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.systemd[Symbol.asyncDispose]();
  }
}

Deno.test(
  { name: "calls of containerd outlast a daemon that is killed or restarted", ignore: missing !== undefined },
  async (t) => {
    using temp = TempDir.make();
    await using registry = await CountedRegistry.start(temp.path);
    await using machine = await Machine.start(registry);

    await t.step("a container that is started while the daemon is dead starts with the next one", async () => {
      const seen: string[] = [];
      await until("the next daemon was in time", async () => {
        await machine.kill();
        seen.push(await machine.runContainer(`killed-${seen.length}`));
        return seen.at(-1) === sumsOf(1);
      });
      noneLost(seen);
    });

    await t.step("containers that are started during restarts start", async () => {
      let isOver = false;
      const runAll = async (name: string): Promise<string[]> => {
        const seen: string[] = [];
        while (!isOver) seen.push(await machine.runContainer(`${name}-${seen.length}`));
        return seen;
      };
      const running = ["one", "two"].map(runAll);
      for (let round = 0; round < 3; round++) await machine.systemctl("restart", SERVICE);
      isOver = true;
      noneLost((await Promise.all(running)).flat());
    });

    await t.step("while the daemon is stopped, calls fail", async () => {
      await machine.systemctl("stop", SERVICE);
      await until(
        "calls are refused",
        async () => /connection refused/.test(await machine.runContainer("stopped")),
        50,
      );
      await machine.systemctl("start", SERVICE);
      await until(
        "containerd has connected again",
        async () => await machine.runContainer("started") === sumsOf(1),
        50,
      );
    });
  },
);

/**
 * Asserts that every container ran, unless the machine is too busy to start a daemon within the second for which
 * containerd waits.
 */
function noneLost(seen: readonly string[]): void {
  const others = seen.filter((output) => output !== sumsOf(1) && !output.includes("waiting for server handshake"));
  assert.deepEqual(others, []);
  assert.ok(seen.includes(sumsOf(1)));
}
