/**
 * Everything that an end-to-end test needs: registry, sandbox, `nydus-gd serve`, dockerd, and images of the fixtures.
 *
 * @module
 */
import { listRafsFixtures, RAFS_FIXTURES, type RafsFixture, readFixtureBootstrap } from "./rafs_fixtures.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../lib/archive/tar_writer.ts";
import { tarEntry } from "../../lib/archive/tar.ts";
import { DockerDaemon } from "../../lib/demo/docker_daemon.ts";
import { DRIVER_NAME, GraphDriverProcess } from "../../lib/demo/graph_driver.ts";
import { pushImage } from "../../lib/demo/push_image.ts";
import { RegistryProcess } from "../../lib/demo/registry_process.ts";
import { Sandbox } from "../../lib/demo/sandbox.ts";
import { Throttle } from "../../lib/demo/throttle.ts";
import { bootstrapLayer, buildImage, concatenate, digestOf } from "../../lib/image/image_builder.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
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
  /** Bytes of the ordinary layer of each reference. */
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

  /** Pushes a fixture as a lazy image with busybox above it. Returns the reference that Docker pulls. */
  async pushLazy(name: string, repository: string): Promise<string> {
    const image = fixture(name);
    const bootstrap = await readFixtureBootstrap(image);
    const blobs = await Promise.all(
      openBootstrap(bootstrap).blobs.map(async ({ id }) => {
        const bytes = await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`);
        return { digest: digestOf(bytes), bytes };
      }),
    );
    const built = await buildImage([bootstrapLayer(bootstrap), await busyboxLayer()], { architecture: ARCHITECTURE });
    await pushImage(this.registry.host, repository, "latest", built, blobs);
    const reference = `${this.host}/${repository}:latest`;
    this.#ordinary.set(reference, built.layers.at(-1)?.bytes.length ?? 0);
    return reference;
  }

  /** Pushes an ordinary image of one layer: busybox. */
  async pushClassic(repository: string): Promise<string> {
    const built = await buildImage([await busyboxLayer()], { architecture: ARCHITECTURE });
    await pushImage(this.registry.host, repository, "latest", built);
    return `${this.host}/${repository}:latest`;
  }

  /** Bytes of the layer with busybox, which no image can do without. */
  ordinaryBytes(reference: string): number {
    return this.#ordinary.get(reference) ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

const ARCHITECTURE = Deno.build.arch === "aarch64" ? "arm64" : "amd64";

/** How long one part of a test may take. */
export const SECTION_TIMEOUT_MS = 120_000;

/** What a test gets. */
export interface Stack {
  readonly stack: DockerStack;
  readonly registry: CountedRegistry;
  /** Scratch folder. */
  readonly dir: string;
  startRegistry(): Promise<CountedRegistry>;
}

/** Runs `test` with a registry and a dockerd of its own; both and all they left are gone afterwards. */
export async function withStack(test: (parts: Stack) => Promise<void>): Promise<void> {
  using temp = TempDir.make();
  let registries = 0;
  const startRegistry = () => CountedRegistry.start(`${temp.path}/registry-${registries++}`);
  await using registry = await startRegistry();
  await using stack = await DockerStack.start(temp.path);
  await test({ stack, registry, dir: temp.path, startRegistry });
}

/** dockerd on our graph driver. */
export class DockerStack implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly sandbox: Sandbox,
    public driver: GraphDriverProcess,
    public daemon: DockerDaemon,
  ) {}

  static async start(dir: string): Promise<DockerStack> {
    const sandbox = await Sandbox.start();
    const driver = await GraphDriverProcess.start({ sandbox, dir });
    return new DockerStack(dir, sandbox, driver, await startDaemon(sandbox, dir));
  }

  /** Runs `docker ARGS` that must succeed. */
  docker(...args: string[]): Promise<string> {
    return this.daemon.must(args);
  }

  async restartDaemon(): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    this.daemon = await startDaemon(this.sandbox, this.dir);
  }

  async restartDriver(): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    this.driver = await GraphDriverProcess.start({ sandbox: this.sandbox, dir: this.dir });
  }

  /** Layer folders that are there. */
  async layers(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name, isDirectory } of Deno.readDir(`${this.dir}/data/${DRIVER_NAME}`)) {
      if (isDirectory && !name.startsWith(".") && name !== "l") names.push(name);
    }
    return names.sort();
  }

  /** Overlay mounts inside. */
  async overlays(): Promise<string[]> {
    const lines = (await this.sandbox.mountinfo()).split("\n");
    return lines.filter((line) => line.includes(" - overlay ")).map((line) => line.split(" ")[4] ?? "");
  }

  /** The folder through which a running container's files are seen from outside. */
  async rootOf(container: string): Promise<string> {
    const inner = Number(await this.docker("inspect", "--format", "{{.State.Pid}}", container));
    return `/proc/${await this.hostPid(inner)}/root`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.driver[Symbol.asyncDispose]();
    await this.sandbox[Symbol.asyncDispose]();
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

function startDaemon(sandbox: Sandbox, dir: string): Promise<DockerDaemon> {
  return DockerDaemon.start({ sandbox, dir, storageDriver: DRIVER_NAME });
}
