/**
 * Everything that an end-to-end test needs: registry, sandbox, `nydus-gd serve`, dockerd, and images of the fixtures.
 *
 * @module
 */
import { listRafsFixtures, RAFS_FIXTURES, type RafsFixture, readFixtureBootstrap } from "./rafs_fixtures.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../lib/archive/tar_writer.ts";
import { tarEntry } from "../../lib/archive/tar.ts";
import { DockerDaemon, type DockerDaemonOptions } from "../../lib/demo/docker_daemon.ts";
import { DRIVER_NAME, GraphDriverProcess, type GraphDriverProcessOptions } from "../../lib/demo/graph_driver.ts";
import { pushImage } from "../../lib/demo/push_image.ts";
import { RegistryProcess } from "../../lib/demo/registry_process.ts";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import { Throttle } from "../../lib/demo/throttle.ts";
import { bootstrapLayerTar, buildImage, digestOf } from "../../lib/image/image_builder.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { parseMountinfo } from "../../ffi/mountinfo.ts";
import { concatenate } from "../../lib/base/bytes.ts";
import { NO_PREFETCH } from "./graph_driver_process.ts";
import { EXECUTABLE } from "./program.ts";
import { TempDir } from "./temp_dir.ts";

/** Why these tests cannot run here; undefined when they can. */
export function dockerMissing(): string | undefined {
  if (Deno.uid() !== 0) return "not root";
  const missing = ["dockerd", "docker", "docker-registry", "unshare"].filter((name) => !isOnPath(name));
  return missing.length === 0 ? undefined : `${missing.join(", ")} not installed`;
}

function isOnPath(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${name}`).isFile;
    } catch {
      return false;
    }
  });
}

/** The fixture of that name. */
export function fixture(name: string): RafsFixture {
  const found = listRafsFixtures().find((each) => each.name === name);
  if (found === undefined) throw new Error(`Cannot find fixture ${name}`);
  return found;
}

/** A layer with Debian's static busybox and the links that the tests use. */
export async function busyboxLayer(): Promise<Uint8Array> {
  const name = (text: string) => new TextEncoder().encode(text);
  const busybox = await Deno.readFile("/bin/busybox");
  return concatenate([
    encodeTarHeader(tarEntry({ type: "directory", name: name("bin/") })),
    encodeTarHeader(
      tarEntry({ type: "file", name: name("bin/busybox"), mode: 0o755, sizeBytes: busybox.length }),
    ),
    busybox,
    tarPadding(busybox.length),
    ...["sh", "cat", "ls", "sleep", "touch", "rm", "sha256sum", "stat", "echo", "mkdir", "tar"].map((applet) =>
      encodeTarHeader(tarEntry({ type: "symlink", name: name(`bin/${applet}`), linkName: name("busybox") }))
    ),
    TAR_END,
  ]);
}

/** A registry behind a counting proxy. */
export class CountedRegistry implements AsyncDisposable {
  /** Bytes of the ordinary layers of each reference. */
  readonly #ordinary = new Map<string, number>();

  private constructor(private readonly registry: RegistryProcess, readonly proxy: Throttle) {}

  static async start(dir: string): Promise<CountedRegistry> {
    const registry = await RegistryProcess.start(dir);
    const upstream = `http://${registry.host}`;
    return new CountedRegistry(registry, new Throttle({ upstream, bytesPerSecond: Infinity, delayMs: 0 }));
  }

  /** What Docker is told. */
  get host(): string {
    return this.proxy.host;
  }

  /**
   * Pushes a fixture as a lazy image with busybox above it, and `above` on top of that.
   *
   * @returns the reference that Docker pulls
   */
  async pushLazy(name: string, repository: string, above: readonly Uint8Array[] = []): Promise<string> {
    return await this.#pushFixture(name, repository, [await busyboxLayer(), ...above]);
  }

  /** As {@link pushLazy}, with nothing above the bootstrap. */
  pushBare(name: string, repository: string): Promise<string> {
    return this.#pushFixture(name, repository, []);
  }

  /** Pushes an ordinary image: busybox, and `above` on top of it. */
  async pushClassic(repository: string, above: readonly Uint8Array[] = []): Promise<string> {
    const built = await buildImage([await busyboxLayer(), ...above], { architecture: ARCHITECTURE });
    await pushImage(this.registry.host, repository, "latest", built);
    return `${this.host}/${repository}:latest`;
  }

  /** Bytes of the layers above the bootstrap, which come with every pull. */
  ordinaryBytes(reference: string): number {
    return this.#ordinary.get(reference) ?? 0;
  }

  async #pushFixture(name: string, repository: string, above: readonly Uint8Array[]): Promise<string> {
    const bootstrap = await readFixtureBootstrap(fixture(name));
    const blobs = await Promise.all(
      openBootstrap(bootstrap).blobs.map(async ({ id }) => {
        const bytes = await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`);
        return { digest: digestOf(bytes), bytes };
      }),
    );
    const built = await buildImage([bootstrapLayerTar(bootstrap), ...above], { architecture: ARCHITECTURE });
    await pushImage(this.registry.host, repository, "latest", built, blobs);
    const reference = `${this.host}/${repository}:latest`;
    this.#ordinary.set(reference, built.layers.slice(1).reduce((sum, { bytes }) => sum + bytes.length, 0));
    return reference;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

const ARCHITECTURE = Deno.build.arch === "aarch64" ? "arm64" : "amd64";

/** How long one part of a test may take. */
export const SECTION_TIMEOUT_MS = 120_000;

/** A dockerd that the tests can run. */
export interface Dockerd {
  readonly name: string;
  /** Why it cannot be had here; undefined when it can. */
  readonly missing: string | undefined;
  /** Opens the system that dockerd and docker are programs of; absent: the machine itself. */
  open?(sandbox: Sandbox, dir: string): Promise<Pick<Sandbox, "spawn"> & AsyncDisposable>;
}

/** The dockerd that is installed. */
export const INSTALLED: Dockerd = { name: "installed dockerd", missing: dockerMissing() };

/** How a stack differs from the usual one. */
export interface StackOptions {
  /** {@link INSTALLED} unless given. */
  readonly dockerd?: Dockerd;
  /** Further arguments of dockerd. */
  readonly flags?: readonly string[];
  /** nydusd's configuration file. */
  readonly config?: string;
}

/** What a test gets. */
export interface Stack {
  readonly stack: DockerStack;
  readonly registry: CountedRegistry;
  /** Scratch folder. */
  readonly dir: string;
  /** One more registry; it goes with the others. */
  startRegistry(): Promise<CountedRegistry>;
}

/** Runs `test` with a registry and a dockerd of its own; both and all they left are gone afterwards. */
export async function withStack(test: (parts: Stack) => Promise<void>, options: StackOptions = {}): Promise<void> {
  using temp = TempDir.make();
  // A registry waits for the connections that the stack keeps open: it goes after it.
  await using registries = new AsyncDisposableStack();
  let count = 0;
  const startRegistry = async () => registries.use(await CountedRegistry.start(`${temp.path}/registry-${count++}`));
  const registry = await startRegistry();
  await using stack = await DockerStack.start(temp.path, {}, options);
  await test({ stack, registry, dir: temp.path, startRegistry });
}

/** dockerd on our graph driver. */
export class DockerStack implements AsyncDisposable {
  private constructor(
    readonly sandbox: Sandbox,
    public driver: GraphDriverProcess,
    public daemon: DockerDaemon,
    private readonly driverOptions: GraphDriverProcessOptions,
    private readonly daemonOptions: DockerDaemonOptions,
    private readonly parts: AsyncDisposableStack,
  ) {}

  /** @param env of `serve`, beside that of this process */
  static async start(
    dir: string,
    env: Readonly<Record<string, string>> = {},
    { dockerd = INSTALLED, flags = [], config }: StackOptions = {},
  ): Promise<DockerStack> {
    await using parts = new AsyncDisposableStack();
    const sandbox = parts.use(await Sandbox.start());
    const system = await dockerd.open?.(sandbox, dir);
    parts.use(system);
    const logins = { NYDUS_GD_DOCKER_CONFIG: `${dir}/client` }; // where DockerDaemon has them
    const driverOptions = {
      sandbox,
      dir,
      env: { ...NO_PREFETCH, ...logins, ...env },
      ...(config === undefined ? {} : { config }),
      ...(EXECUTABLE === undefined ? {} : { program: EXECUTABLE }),
    };
    const driver = await GraphDriverProcess.start(driverOptions);
    const daemonOptions = { sandbox: system ?? sandbox, dir, flags, storageDriver: DRIVER_NAME };
    const daemon = await DockerDaemon.start(daemonOptions);
    return new DockerStack(sandbox, driver, daemon, driverOptions, daemonOptions, parts.move());
  }

  /** Scratch folder. */
  get dir(): string {
    return this.driverOptions.dir;
  }

  /** A second dockerd beside this one, with the driver that it would have without us. */
  startOverlay2(): Promise<DockerDaemon> {
    const dir = `${this.dir}/o`; // short: sockets go below it
    return DockerDaemon.start({ sandbox: this.daemonOptions.sandbox, dir, storageDriver: "overlay2" });
  }

  /** The log of `serve`, a record a line, from its first start on. */
  async serveLog(): Promise<Record<string, unknown>[]> {
    const lines = (await Deno.readTextFile(this.driver.logPath)).split("\n");
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Runs `docker ARGS` that must succeed. */
  docker(...args: string[]): Promise<string> {
    return this.daemon.must(args);
  }

  async restartDaemon(): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    this.daemon = await DockerDaemon.start(this.daemonOptions);
  }

  /** As {@link restartDaemon}, after a crash. */
  async crashDaemon(): Promise<void> {
    await this.daemon.kill();
    this.daemon = await DockerDaemon.start(this.daemonOptions);
  }

  async restartDriver(): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    this.driver = await GraphDriverProcess.start(this.driverOptions);
  }

  /** Layer folders that are there. */
  async layers(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name, isDirectory } of Deno.readDir(`${this.dir}/data/${DRIVER_NAME}`)) {
      if (isDirectory && !name.startsWith(".") && name !== "l") names.push(name);
    }
    return names.sort();
  }

  /** Mount points of the layers that are mounted. */
  async overlays(): Promise<string[]> {
    const mounts = parseMountinfo(await this.sandbox.mountinfo());
    const points = mounts.filter(({ fsType }) => fsType === "overlay").map(({ mountPoint }) => mountPoint);
    return points.filter((point) => point.startsWith(`${this.dir}/`));
  }

  /** The folder through which a running container's files are seen from outside. */
  async rootOf(container: string): Promise<string> {
    const inner = Number(await this.docker("inspect", "--format", "{{.State.Pid}}", container));
    return `/proc/${await this.hostPid(inner)}/root`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.driver[Symbol.asyncDispose]();
    await this.parts.disposeAsync();
  }

  /** The number outside of a process that the sandbox knows as `inner`. */
  private async hostPid(inner: number): Promise<number> {
    const namespace = await Deno.readLink(`/proc/${this.sandbox.initPid}/ns/pid`);
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const ids = /^NSpid:\s+(.*)$/m.exec(await Deno.readTextFile(`/proc/${name}/status`))?.[1]?.split(/\s+/);
        // a container has a namespace of its own inside the sandbox's
        if (ids?.[1] === String(inner) && ids.length <= 3) {
          if (ids.length === 3 || await Deno.readLink(`/proc/${name}/ns/pid`) === namespace) return Number(name);
        }
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    throw new Error(`Cannot find process ${inner} of the sandbox`);
  }
}
