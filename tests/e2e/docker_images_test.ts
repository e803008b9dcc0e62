/**
 * What becomes of images and containers over a longer life: save and load, push, prune, many layers, many containers,
 * a dockerd that restarts below running containers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Throttle } from "../../lib/demo/throttle.ts";
import { kill } from "../../lib/demo/sandbox.ts";
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { DockerStack, fixture } from "../support/docker_stack.ts";
import { DOCKER_26, testsOn } from "../support/dockerds.ts";
import { readFixtureBootstrap } from "../support/rafs_fixtures.ts";
import { file, tarOf, whiteout } from "../support/tar_builder.ts";

const LAZY = "v6-prefetch-fs";
const NO_NETWORK = ["--network", "none"];
/** How long dockerd may take to notice what it is not asked for. */
const NOTICE_TIMEOUT_MS = 60_000;

const { test, dockerd } = testsOn(DOCKER_26);

const DIGEST = ["/bin/sha256sum", "/lib/mod03.txt"];

test("a lazy image is loaded lazily where its blobs can be found, and refused by name elsewhere", async (parts, t) => {
  const { stack, registry, dir } = parts;
  const lazy = await registry.pushLazy(LAZY, "lazy/saved");
  await stack.docker("pull", "--quiet", lazy);
  const digest = await stack.docker("run", "--rm", ...NO_NETWORK, lazy, ...DIGEST);
  const elsewhere = `${registry.host}/other/saved:latest`;
  await stack.docker("tag", lazy, elsewhere);
  await stack.docker("save", "--output", `${dir}/saved.tar`, lazy);
  await stack.docker("push", "--quiet", elsewhere);
  await stack.docker("rmi", lazy, elsewhere);

  // Docker keeps its record of a layer's home when the layer goes.
  await stack.docker("load", "--input", `${dir}/saved.tar`);
  assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, lazy, ...DIGEST), digest);
  await stack.docker("rmi", lazy);
  await stack.docker("pull", "--quiet", elsewhere);
  assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, elsewhere, ...DIGEST), digest);

  await using stranger = await startStack(`${dir}/b`);
  await shareFile(dir, `${dir}/b`, "saved.tar");
  await stranger.docker("load", "--input", `${dir}/b/saved.tar`);
  const refused = await stranger.daemon.docker(["run", "--rm", ...NO_NETWORK, lazy, ...DIGEST]);
  assert.match(refused.stderr, /Cannot find the blobs of the image: no home is known/);
  await stranger.docker("rmi", "--force", lazy);
  await stranger.docker("pull", "--quiet", elsewhere);
  const lacking = await stranger.daemon.docker(["run", "--rm", ...NO_NETWORK, elsewhere, ...DIGEST]);
  assert.match(lacking.stderr, /Cannot find the blobs of the image: registry 127\.0\.0\.1:\d+\/other\/saved: /);

  const config = `${dir}/config.json`;
  const backend = { type: "registry", config: { scheme: "http", host: registry.host, repo: "lazy/saved" } };
  await Deno.writeTextFile(
    config,
    JSON.stringify({ mode: "direct", device: { backend, cache: { type: "blobcache" } } }),
  );
  await using configured = await startStack(`${dir}/c`, config);
  await shareFile(dir, `${dir}/c`, "saved.tar");
  await configured.docker("load", "--input", `${dir}/c/saved.tar`);
  registry.proxy.reset();
  assert.equal(await configured.docker("run", "--rm", ...NO_NETWORK, lazy, ...DIGEST), digest);
  assert.ok(registry.proxy.traffic().bytes < 100_000, `${registry.proxy.traffic().bytes} bytes came`);
  await configured.docker("pull", "--quiet", elsewhere);
  assert.equal(await configured.docker("run", "--rm", ...NO_NETWORK, elsewhere, ...DIGEST), digest);

  await t.step("BuildKit puts a lazy image together from a bootstrap file", async () => {
    const context = `${dir}/c/context`;
    await Deno.mkdir(context);
    await Deno.writeFile(`${context}/image.boot`, await readFixtureBootstrap(fixture(LAZY)));
    const classic = await registry.pushClassic("classic/saved");
    const lines = ["FROM scratch", "COPY image.boot /image/image.boot", `COPY --from=${classic} / /`];
    await Deno.writeTextFile(`${context}/Dockerfile`, lines.join("\n"));
    const build = ["build", "--tag", "made", ...NO_NETWORK, context];
    await configured.daemon.must(build, { env: { DOCKER_BUILDKIT: "1" } });
    assert.equal(await configured.docker("run", "--rm", ...NO_NETWORK, "made", ...DIGEST), digest);
  });
});

test("an ordinary image is pushed to another repository byte for byte", async ({ stack, registry }) => {
  const classic = await registry.pushClassic("classic/app");
  await stack.docker("pull", "--quiet", classic);
  await stack.docker("create", "--name", "changed", ...NO_NETWORK, classic, "/bin/sh");
  await stack.docker("cp", "/etc/hostname", "changed:/copied");
  await stack.docker("commit", "changed", `${registry.host}/other/app`);
  await stack.docker("push", "--quiet", `${registry.host}/other/app`);
  const id = await stack.docker("image", "inspect", "--format", "{{.Id}}", `${registry.host}/other/app`);
  await stack.docker("rm", "changed");
  await stack.docker("system", "prune", "--all", "--force");
  assert.deepEqual(await stack.layers(), []);
  await stack.docker("pull", "--quiet", `${registry.host}/other/app`);
  assert.equal(await stack.docker("image", "inspect", "--format", "{{.Id}}", `${registry.host}/other/app`), id);
  const command = ["run", "--rm", ...NO_NETWORK, `${registry.host}/other/app`, "/bin/cat", "/copied"];
  assert.equal(await stack.docker(...command), (await Deno.readTextFile("/etc/hostname")).trim());
});

test("system df counts images and containers, and prune leaves what runs", async ({ stack, registry }) => {
  const lazy = await registry.pushLazy(LAZY, "lazy/app");
  await stack.docker("pull", "--quiet", lazy);
  await stack.docker("pull", "--quiet", await registry.pushClassic("classic/app"));
  await stack.docker("run", "--detach", "--name", "running", ...NO_NETWORK, lazy, "/bin/sleep", "1000");
  await stack.docker("run", "--name", "ended", ...NO_NETWORK, lazy, "/bin/sh", "-c", "/bin/echo ended > /file");
  const counts = await stack.docker("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}");
  assert.match(counts, /^Images 2 1\nContainers 2 1\n/);
  assert.match(await stack.docker("system", "df", "--verbose"), /ended/);
  await stack.docker("system", "prune", "--all", "--force");
  assert.equal(await stack.docker("ps", "--all", "--format", "{{.Names}}"), "running");
  await stack.docker("exec", "running", ...DIGEST);
  assert.equal((await stack.overlays()).length, 1);
  await stack.docker("rm", "--force", "running");
  await stack.docker("system", "prune", "--all", "--force");
  assert.deepEqual(await stack.layers(), []);
  assert.deepEqual(await stack.overlays(), []);
});

test("volumes, read-only roots, limits and imports work as on overlay2", async ({ stack, registry }) => {
  const lazy = await registry.pushLazy(LAZY, "lazy/odd");
  await stack.docker("pull", "--quiet", lazy);
  const run = (...args: string[]) => stack.docker("run", "--rm", ...NO_NETWORK, ...args);
  const digest = await run(lazy, ...DIGEST);
  // A new volume is filled with what the image has there.
  assert.equal(await run("--volume", "filled:/lib", lazy, ...DIGEST), digest);
  assert.equal(await run("--read-only", lazy, ...DIGEST), digest);
  const written = await stack.daemon.docker(["run", "--rm", "--read-only", ...NO_NETWORK, lazy, "/bin/touch", "/x"]);
  assert.match(written.stderr, /Read-only file system/);
  const limited = await stack.daemon.docker(["create", "--storage-opt", "size=1G", ...NO_NETWORK, lazy, "/bin/sh"]);
  assert.match(limited.stderr, /there are no quotas/);
  const script = "rm -rf /lib; mkdir /lib; echo new > /lib/new; mv /bin /moved; /moved/busybox ln /lib/new /lib/same";
  await stack.docker("run", "--name", "opaque", ...NO_NETWORK, lazy, "/bin/sh", "-c", script);
  await stack.docker("commit", "opaque", "opaque");
  assert.equal(await run("opaque", "/moved/busybox", "ls", "/lib"), "new\nsame");
  const { stdout } = await stack.daemon.docker(["cp", "opaque:/lib", "-"]);
  await stack.daemon.must(["import", "-", "imported"], { input: new TextEncoder().encode(stdout) });
  const listed = await stack.docker("image", "inspect", "--format", "{{len .RootFS.Layers}} {{.Size}}", "imported");
  assert.equal(listed, "1 4");
  await stack.docker("rm", "opaque");
  await stack.docker("rmi", "opaque", "imported", lazy);
  assert.deepEqual(await stack.layers(), []);
});

test("thirty containers of one lazy image start at once", async ({ stack, registry }) => {
  const lazy = await registry.pushLazy(LAZY, "lazy/many");
  await stack.docker("pull", "--quiet", lazy);
  registry.proxy.reset();
  const names = Array.from({ length: 30 }, (_, index) => `many-${index}`);
  const script = `/bin/echo "$0" > /lib/mod04.txt; ${DIGEST.join(" ")}; /bin/cat /lib/mod04.txt; exec /bin/sleep 1000`;
  const containers = names.map((name) =>
    stack.docker("run", "--detach", "--name", name, ...NO_NETWORK, lazy, "/bin/sh", "-c", script, name)
  );
  await Promise.all(containers);
  assert.equal((await stack.overlays()).length, names.length);
  const firstLines = new Set<string>();
  for (const name of names) {
    const [digest = "", own] = (await stack.docker("exec", name, "/bin/sh", "-c", READ_BACK)).split("\n");
    firstLines.add(digest);
    assert.equal(own, name);
  }
  assert.equal(firstLines.size, 1);
  assert.ok(registry.proxy.traffic().bytes < 100_000, `${registry.proxy.traffic().bytes} bytes came`);
  await stack.docker("rm", "--force", ...names);
  assert.deepEqual(await stack.overlays(), []);
});

test("images of sixty layers show every layer, ordinary and lazy", async ({ stack, registry }) => {
  const above = Array.from({ length: 59 }, (_, index) => {
    const removed = index % 10 === 9 ? [whiteout(`f${index - 1}`)] : [];
    return tarOf(file(`f${index}`, `${index}`), file("top", `${index}`), ...removed);
  });
  const script = "/bin/cat /f0 /f57 /f58 /top; /bin/ls /f8 2>/dev/null; /bin/echo; /bin/echo new > /f0; /bin/cat /f0";
  for (
    const image of [await registry.pushClassic("classic/deep", above), await registry.pushLazy(LAZY, "deep", above)]
  ) {
    await stack.docker("pull", "--quiet", image);
    const found = await stack.docker("run", "--name", "deep", ...NO_NETWORK, image, "/bin/sh", "-c", script);
    assert.equal(found, "0575858\nnew");
    assert.equal(await stack.docker("diff", "deep"), "C /f0");
    await stack.docker("commit", "deep", "deeper");
    assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, "deeper", "/bin/cat", "/f0", "/f1"), "new\n1");
    await stack.docker("rm", "deep");
    await stack.docker("rmi", "deeper", image);
  }
  assert.deepEqual(await stack.layers(), []);
});

test("a running lazy container outlives its dockerd", async ({ stack, registry }) => {
  const lazy = await registry.pushLazy(LAZY, "lazy/live");
  await stack.docker("pull", "--quiet", lazy);
  const digest = await stack.docker("run", "--rm", ...NO_NETWORK, lazy, ...DIGEST);
  await stack.docker("run", "--detach", "--name", "live", ...NO_NETWORK, lazy, "/bin/sleep", "1000");
  const pid = await stack.docker("inspect", "--format", "{{.State.Pid}}", "live");
  for (const restart of [() => stack.restartDaemon(), () => stack.crashDaemon()]) {
    await restart();
    assert.equal(
      await stack.docker("inspect", "--format", "{{.State.Pid}} {{.State.Status}}", "live"),
      `${pid} running`,
    );
    assert.equal((await stack.overlays()).length, 1);
    assert.equal(await stack.docker("exec", "live", ...DIGEST), digest);
  }
  const others = await stack.docker("exec", "live", "/bin/sha256sum", "/lib/mod04.txt", "/lib/mod05.txt");
  assert.equal(
    await stack.docker("run", "--rm", ...NO_NETWORK, lazy, "/bin/sha256sum", "/lib/mod04.txt", "/lib/mod05.txt"),
    others,
  );
  await stack.docker("restart", "--time", "0", "live");
  assert.equal(await stack.docker("exec", "live", ...DIGEST), digest);
  await stack.docker("rm", "--force", "live");
  assert.deepEqual(await stack.overlays(), []);
  await stack.docker("rmi", lazy);
  assert.deepEqual(await stack.layers(), []);
}, { flags: ["--live-restore"] });

test("a pull that is cancelled while it downloads leaves nothing, and the next one is whole", async (parts) => {
  const { stack, registry } = parts;
  const content = new Uint8Array(randomBytes(3_000_000));
  const classic = await registry.pushClassic("classic/big", [tarOf(file("big", content))]);
  await using link = new Throttle({ upstream: `http://${registry.host}`, bytesPerSecond: 1_000_000, delayMs: 0 });
  await cancelPull(stack, `${link.host}/classic/big`, () => link.traffic().bytes > 900_000);
  await stack.docker("pull", "--quiet", classic);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content)).toHex();
  assert.match(await stack.docker("run", "--rm", ...NO_NETWORK, classic, "/bin/sha256sum", "/big"), new RegExp(digest));
});

test("a pull that is cancelled while it unpacks leaves nothing, and the next one is whole", async (parts) => {
  const { stack, registry } = parts;
  const count = 300;
  const zeros = new Uint8Array(1 << 20);
  const layer = tarOf(...Array.from({ length: count }, (_, index) => file(`zeros${index}`, zeros)));
  const classic = await registry.pushClassic("classic/zeros", [layer]);
  // dockerd hangs up in the middle of the layer, and four times more, before it has the layer removed.
  await cancelPull(stack, classic, async () => {
    for (const name of await stack.layers()) {
      if (await fileCount(`${stack.dir}/data/${DRIVER_NAME}/${name}/diff`) > 10) return true;
    }
    return false;
  });
  await stack.docker("pull", "--quiet", classic);
  const script = "busybox ls / | busybox grep -c zeros; cat /zeros* | busybox wc -c";
  const found = await stack.docker("run", "--rm", ...NO_NETWORK, classic, "/bin/busybox", "sh", "-c", script);
  assert.equal(found, `${count}\n${count * zeros.length}`);
});

/** What each of the thirty containers is asked. */
const READ_BACK = `${DIGEST.join(" ")}; /bin/cat /lib/mod04.txt`;

/** A second dockerd with data of its own. `dir` is short: the paths of sockets end at 107 bytes. */
async function startStack(dir: string, config?: string): Promise<DockerStack> {
  await Deno.mkdir(dir);
  return await DockerStack.start(dir, {}, { dockerd, ...(config === undefined ? {} : { config }) });
}

/** A dockerd sees its own folder only. */
function shareFile(from: string, to: string, name: string): Promise<void> {
  return Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
}

/** Pulls until it is time to break off, and waits until dockerd has cleared away what it began. */
async function cancelPull(stack: DockerStack, image: string, isTime: () => boolean | Promise<boolean>): Promise<void> {
  const pull = stack.daemon.spawn(["pull", image]);
  await until(isTime);
  kill(pull, "SIGINT");
  assert.notEqual((await pull.output()).code, 0, "the pull was faster");
  await until(async () => (await stack.layers()).length === 0);
}

/** Entries of a folder; 0 where there is none. */
async function fileCount(folder: string): Promise<number> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).length;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** Polls, as nobody tells when dockerd has given up. */
async function until(isTime: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(NOTICE_TIMEOUT_MS);
  while (!await isTime()) {
    deadline.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
