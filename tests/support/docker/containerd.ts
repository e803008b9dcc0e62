/**
 * A private containerd with our snapshotter, controlled with ordinary `ctr` commands, and by Kubernetes' interface.
 *
 * @module
 */
import type { CommandResult } from "../../../lib/demo/docker_daemon.ts";
import { PROGRAM_PATH } from "../../../lib/demo/programs.ts";
import { kill, type Sandbox } from "../../../lib/demo/sandbox.ts";
import { listening } from "../process/listening.ts";
import { until } from "../until.ts";
import { proxyPluginTable, SNAPSHOTTER } from "../../../lib/setup/containerd/containerd_config.ts";

/** Options of {@link Containerd.start}. */
export interface ContainerdOptions {
  /** Where containerd and ctr run; `dir` must be visible there at the same path. */
  readonly sandbox: Pick<Sandbox, "spawn">;
  /** Directory for state, socket and log. */
  readonly dir: string;
  /** Socket of our snapshotter; absent: it has none. */
  readonly snapshotterSocket?: string;
  /** Whether Kubernetes' plugin runs as well, with our snapshotter. */
  readonly hasCri?: boolean;
}

/** A running containerd. */
export class Containerd implements AsyncDisposable {
  private constructor(private readonly options: ContainerdOptions, private readonly child: Deno.ChildProcess) {}

  /** Starts it; resolves when it answers. */
  static async start(options: ContainerdOptions): Promise<Containerd> {
    const { dir, sandbox } = options;
    await Deno.writeTextFile(`${dir}/containerd.toml`, configOf(options));
    const args = ["--config", `${dir}/containerd.toml`, "--log-level", "debug"];
    const child = sandbox.spawn("containerd", args, { logPath: `${dir}/containerd.log`, env: { PATH: PROGRAM_PATH } });
    const containerd = new Containerd(options, child);
    if (await listening(child, () => Deno.connect({ transport: "unix", path: containerd.socket }))) return containerd;
    const log = (await Deno.readTextFile(`${dir}/containerd.log`)).trim().split("\n");
    throw new Error(`Cannot start containerd: ${log.at(-1)}`);
  }

  /** Path of its socket. */
  get socket(): string {
    return socketOf(this.options);
  }

  /** Runs `ctr ARGS`, which must succeed, and returns its trimmed output. */
  async ctr(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.tryCtr(...args);
    if (code !== 0) throw new Error(`ctr ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  }

  /** Runs `ctr ARGS` and returns its result, whatever the exit code. */
  async tryCtr(...args: string[]): Promise<CommandResult> {
    const words = ["--address", this.socket, "--connect-timeout", "60s", ...args];
    const child = this.options.sandbox.spawn("ctr", words, {
      env: { PATH: PROGRAM_PATH },
      stdout: "piped",
      stderr: "piped",
    });
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /**
   * Waits until it has reached a snapshotter that was started again, which it tries at intervals of seconds. Until then
   * calls fail at once.
   *
   * @param namespace one that has snapshots
   */
  async reconnected(namespace: string): Promise<void> {
    const list = ["--namespace", namespace, "snapshots", "--snapshotter", SNAPSHOTTER, "ls"];
    await until("containerd reaches its snapshotter", async () => (await this.tryCtr(...list)).code === 0, 50);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.child, "SIGTERM");
    await this.child.status;
  }
}

function socketOf({ dir }: ContainerdOptions): string {
  return `${dir}/containerd.sock`;
}

/** All its files are below `dir`, except sockets and named pipes in the sandbox's /run. */
function configOf(options: ContainerdOptions): string {
  const { dir, snapshotterSocket, hasCri = false } = options;
  const disabled = ["io.containerd.internal.v1.opt", ...hasCri ? [] : ["io.containerd.grpc.v1.cri"]];
  return `version = 2
root = "${dir}/containerd"
state = "${dir}/containerd-state"
disabled_plugins = ${JSON.stringify(disabled)}

[grpc]
address = "${socketOf(options)}"

${snapshotterSocket === undefined ? "" : proxyPluginTable(snapshotterSocket)}
${hasCri ? criTables(dir) : ""}`;
}

function criTables(dir: string): string {
  return `[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "${SNAPSHOTTER}"
disable_snapshot_annotations = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${dir}/cni/bin"
conf_dir = "${dir}/cni/conf"
`;
}
