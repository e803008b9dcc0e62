/**
 * Registries without TLS: what Docker pulls from since daemon.json says so, is read lazily from there, by every way that
 * an image can take.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fixtureOf, readListing } from "../support/rafs/rafs_fixtures.ts";
import { type CountedRegistry, type DockerStack, INSTALLED, type Stack } from "../support/docker/docker_stack.ts";
import { docker28, testsOn } from "../support/docker/dockerds.ts";
import { pull, runBeside } from "../support/docker/pull_command.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

const IMAGE = "v6-prefetch-fs";
const NO_NETWORK = ["--network", "none"];
/** A name of this machine that does not show it: only Docker, which resolves it, takes it for loopback. */
const NAME = "registry.test";

/** Writes Docker's usual configuration file in the sandbox. */
async function configure(stack: DockerStack, registries: readonly string[]): Promise<void> {
  const script = 'mkdir -p /etc/docker; mount -t tmpfs tmpfs /etc/docker; printf %s "$1" >/etc/docker/daemon.json';
  await inSandbox(stack, script, JSON.stringify({ "insecure-registries": registries }));
}

async function inSandbox(stack: DockerStack, script: string, ...args: string[]): Promise<void> {
  const { success } = await stack.sandbox.spawn("sh", ["-ec", script, "sh", ...args]).status;
  assert.ok(success, script);
}

/** Runs a container that reads a file of the lazy image; returns what docker said. */
async function runsRight(stack: DockerStack, reference: string): Promise<void> {
  const files = readListing(fixtureOf(IMAGE).listing).filter(({ type, size = 0 }) => type === "reg" && size > 0);
  const { path = "", sha256 } = files.at(-1) ?? assert.fail("the image has no file");
  const command = ["/bin/sha256sum", decodeURIComponent(path)];
  const said = await stack.docker("run", "--rm", ...NO_NETWORK, reference, ...command);
  assert.equal(said.split(" ")[0], sha256);
  await stack.docker("rmi", reference);
}

/** Converts an ordinary image in the registry, pulls it by `nydus-gd pull` and by Docker, and runs it. */
async function convertsAndPulls(stack: DockerStack, host: string): Promise<void> {
  const lazy = `${host}/converted:1`;
  const converted = await runBeside(stack, ["convert", `${host}/classic:latest`, lazy]);
  assert.equal(converted.code, 0, converted.stderr);
  for (const pulled of [() => pull(stack, [lazy]), () => stack.daemon.docker(["pull", "--quiet", lazy])]) {
    const { code, stderr } = await pulled();
    assert.equal(code, 0, stderr);
    assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, lazy, "/bin/cat", "/data/text"), "read");
    await stack.docker("rmi", lazy);
  }
}

async function push(registry: CountedRegistry): Promise<void> {
  await registry.pushLazy(IMAGE, "lazy");
  await registry.pushClassic("classic", [tarOf(dir("data"), file("data/text", "read"))]);
}

testsOn(INSTALLED).test("a registry without TLS that daemon.json lists serves lazy images", async (parts: Stack, t) => {
  const { stack, registry, dir: folder } = parts;
  await push(registry);
  const host = registry.host.replace("127.0.0.1", NAME);
  const reference = `${host}/lazy:latest`;
  await Deno.writeTextFile(`${folder}/hosts`, `127.0.0.1 localhost ${NAME}\n`);
  await inSandbox(stack, 'mount --bind "$1" /etc/hosts', `${folder}/hosts`);
  await t.step("Docker takes the name for loopback and pulls, we need the administrator's word", async () => {
    await configure(stack, []);
    const isPulled = async () => (await stack.daemon.docker(["pull", "--quiet", reference])).code === 0;
    await until("dockerd has read /etc/hosts again", isPulled, 500);
    await assert.rejects(runsRight(stack, reference), /Cannot find the blobs of the image/);
  });
  await t.step("which counts from the next container on", async () => {
    await configure(stack, [host]);
    await runsRight(stack, reference);
  });
  await t.step("nydus-gd convert and nydus-gd pull", () => convertsAndPulls(stack, host));
});

const NO_TRUST = { NYDUS_GD_FETCH_TRUSTED_ORIGINS: "other.example" };

testsOn(await docker28()).test(
  "a registry of this machine that daemon.json lists serves lazy images",
  async (parts: Stack, t) => {
    const { stack, registry } = parts;
    await push(registry);
    const reference = `${registry.host}/lazy:latest`;
    await t.step("the name that comes with a layer could be an image's, so it leads nowhere", async () => {
      await configure(stack, []);
      await assert.rejects(stack.docker("pull", reference), /an image may not lead there.*or to insecure-registries/);
    });
    await t.step("unless the administrator has listed it", async () => {
      await configure(stack, [registry.host]);
      await runsRight(stack, reference);
    });
    await t.step("nydus-gd convert and nydus-gd pull", () => convertsAndPulls(stack, registry.host));
  },
  { env: NO_TRUST },
);
