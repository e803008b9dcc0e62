/**
 * The cache of real images: removed by `docker rmi`, kept while in use, and the rest freed by `nydus-gd gc`, whether
 * the daemon runs or not.
 *
 * @module
 */
import assert from "node:assert/strict";
import { selfCommand } from "../../lib/base/self_command.ts";
import type { GarbageReport } from "../../lib/image/gc/collect_garbage.ts";
import type { StatusDocument } from "../../lib/image/lazy/report/status_document.ts";
import type { RunResult } from "../support/process/command.ts";
import type { DockerStack } from "../support/docker/docker_stack.ts";
import { testsOn } from "../support/docker/dockerds.ts";
import { INSTALLED } from "../support/docker/docker_stack.ts";
import { fixtureImage, ImagePusher, runnableImage } from "../support/image/nydus_images.ts";
import { pullJson } from "../support/docker/pull_command.ts";
import { type ListedEntry, listRafsFixtures, readListing } from "../support/rafs/rafs_fixtures.ts";
import { RegistryClient } from "../support/backend/registry_client.ts";
import { listTree } from "../support/mount/tree_walk.ts";
import { until, untilEqual } from "../support/until.ts";

const NO_NETWORK = ["--network", "none"];

/** Ids of the blobs with data in the cache. */
async function cached(stack: DockerStack): Promise<string[]> {
  const ids: string[] = [];
  for await (const { name } of Deno.readDir(`${stack.dir}/root/cache`)) {
    if (name.endsWith(".blob.data")) ids.push(name.slice(0, 64));
  }
  return ids.sort();
}

/** Waits until exactly these blobs have data in the cache. */
function cachedBecomes(stack: DockerStack, ids: readonly string[]): Promise<void> {
  const wanted = [...ids].sort().join();
  return until(`the cache has data of ${wanted}`, async () => (await cached(stack)).join() === wanted);
}

/** Runs `nydus-gd gc ARGS` next to the stack. */
function gc(stack: DockerStack, ...args: string[]): Promise<RunResult> {
  return runBeside(stack, ["gc", "--root", `${stack.dir}/root`, ...args]);
}

async function runBeside(stack: DockerStack, args: readonly string[]): Promise<RunResult> {
  const [program, ...words] = selfCommand();
  const child = stack.sandbox.spawn(program, [...words, ...args], {
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

async function status(stack: DockerStack): Promise<StatusDocument> {
  const { code, stdout, stderr } = await runBeside(stack, ["status", "-o", "json"]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function gcReport(stack: DockerStack, ...args: string[]): Promise<GarbageReport> {
  const { code, stdout, stderr } = await gc(stack, "-o", "json", ...args);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

testsOn(INSTALLED).test(
  "cached data is removed with its image, and gc frees leftovers, never mounted data",
  async ({ stack, registry }, t) => {
    const pusher = new ImagePusher(new RegistryClient(`http://${registry.host}`, "app"));
    const names = ["a", "b", "c"].map((tag) => `${registry.host}/app:${tag}`);
    const [a, b, c] = names as [string, string, string];
    const blobs: Record<string, string> = {};
    for (const name of names) {
      const tag = name.slice(-1);
      await pusher.standard(await runnableImage(`image ${tag}`), { tag });
      blobs[name] = (await pullJson(stack, [name])).lazy?.blobs[0]?.id ?? "";
      assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, name), `image ${tag}`);
    }
    const idsOf = (...of: string[]) => of.map((name) => blobs[name] ?? "").sort();
    assert.deepEqual(await cached(stack), idsOf(a, b, c));

    await t.step("removing an image removes its blobs", async () => {
      await stack.docker("rmi", a);
      await cachedBecomes(stack, idsOf(b, c));
    });

    await t.step("blobs of an image with a container are kept", async () => {
      await stack.docker("run", "--detach", "--name", "box", ...NO_NETWORK, b, "/bin/sleep", "1000");
      const { images } = await status(stack);
      const users = images.map(({ names, used_by: users }) => [names, users.map(({ name }) => name)]);
      assert.deepEqual(users.sort(), [[[b], ["box"]], [[c], []]], "status lists the users of an image");
      const { blobs: idle } = await gcReport(stack, "--all", "--dry-run");
      assert.deepEqual(idle.map(({ id, reason }) => [id, reason]), [[blobs[c], "all"]]);
      await Deno.writeTextFile(`${stack.dir}/root/cache/${"0".repeat(64)}.blob.data`, "of a removed image");
      await Deno.writeTextFile(`${stack.dir}/root/cache/x.blob.meta.tmp`, "of a process that was killed");
      const { code, stdout } = await gc(stack, "--dry-run");
      assert.equal(code, 0);
      assert.match(
        stdout,
        /^0{12} {2}\S+ kB {2}last used 1970-01-01 {2}no image uses it\n.*x\.blob\.meta\.tmp {2}\S+ kB {2}left over\nwould free \S+ kB: 1 blob, 1 left-over file; \S+ MB kept\n$/,
      );
      const report = await gcReport(stack);
      assert.deepEqual(report.blobs.map(({ id, reason }) => [id, reason]), [["0".repeat(64), "unused"]]);
      assert.deepEqual(report.files.map(({ path }) => path), [`${stack.dir}/root/cache/x.blob.meta.tmp`]);
      assert.deepEqual(await cached(stack), idsOf(b, c));
    });

    await t.step("without a daemon gc keeps what is still mounted, and can free everything else", async () => {
      await stack.driver[Symbol.asyncDispose]();
      assert.deepEqual((await gcReport(stack)).blobs, []);
      const report = await gcReport(stack, "--all");
      assert.deepEqual(report.blobs.map(({ id }) => id).sort(), []);
      assert.deepEqual(await cached(stack), idsOf(b, c));
      await stack.restartDriver();
      assert.equal(await stack.docker("exec", "box", "/bin/cat", "/hello"), "image b");
      await stack.docker("rm", "--force", "box");
    });

    await t.step("an image that a restarted daemon took over is removed like any other", async () => {
      await stack.docker("run", "--rm", ...NO_NETWORK, c);
      await stack.docker("run", "--detach", "--name", "box", ...NO_NETWORK, b, "/bin/sleep", "1000");
      await stack.restartDriver();
      assert.deepEqual((await status(stack)).images.map(({ names }) => names).sort(), [[b], [c]]);
      await stack.docker("rm", "--force", "box");
      await untilEqual(async () => {
        await gcReport(stack, "--all");
        return await cached(stack);
      }, []); // the kernel may delay this
      for (const name of [b, c]) await stack.docker("run", "--rm", ...NO_NETWORK, name);
      assert.deepEqual(await cached(stack), idsOf(b, c));
    });

    await t.step(
      "above the limit the least recently used blobs are evicted, and images still start",
      async () => {
        await stack.daemon[Symbol.asyncDispose]();
        await stack.driver[Symbol.asyncDispose]();
        assert.deepEqual(await cached(stack), idsOf(b, c));
        const settings = `${stack.dir}/settings.toml`;
        await Deno.writeTextFile(settings, '[cache]\nmax_size = "1MiB"\n');
        const { blobs: over } = await gcReport(stack, "--settings", settings, "--dry-run");
        assert.deepEqual(over.map(({ reason }) => reason), ["limit", "limit"]);
        assert.deepEqual((await gcReport(stack, "--all")).blobs.map(({ id }) => id).sort(), idsOf(b, c));
        assert.deepEqual(await cached(stack), []);
        await stack.restartDriver();
        await stack.restartDaemon();
        assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, c), "image c");
      },
    );

    await t.step("a running daemon that cannot be reached is reported", async () => {
      const { code, stderr } = await gc(stack, "--admin-socket", "/nowhere.sock");
      assert.equal(code, 1);
      assert.match(stderr, /^nydus-gd: cannot open root ".*": another nydus-gd uses it\nhint: /);
    });
  },
);

/** Contents of files below a folder, by their paths in it. */
function contentsOf(entries: readonly ListedEntry[], folder: string): Record<string, string | undefined> {
  const files = entries.filter(({ type, path }) => type === "reg" && path.startsWith(`${folder}/`));
  return Object.fromEntries(files.map(({ path, sha256 }) => [path.slice(folder.length), sha256]));
}

testsOn(INSTALLED).test(
  "two images that describe one blob differently are both complete, and removed separately",
  async ({ stack, registry }) => {
    const pusher = new ImagePusher(new RegistryClient(`http://${registry.host}`, "app"));
    const nameOf = (tag: string) => `${registry.host}/app:${tag}`;
    const listing = listRafsFixtures().find(({ name }) => name === "v6-tarfs")?.listing ?? assert.fail();
    const expected = contentsOf(readListing(listing), "/lib");
    const look = async (tag: string) => {
      const copy = `${stack.dir}/${crypto.randomUUID()}`;
      await stack.docker("create", "--name", tag, nameOf(tag));
      await stack.docker("cp", `${tag}:/lib`, copy);
      assert.deepEqual(contentsOf(listTree(copy), ""), expected, tag);
    };
    for (const tag of ["tar-ref", "tarfs"]) {
      await pusher.standard(await fixtureImage(`v6-${tag}`), { tag });
      await pullJson(stack, [nameOf(tag)]);
      await look(tag);
    }
    const both = await cached(stack);
    assert.deepEqual(both, Array(2).fill(both[0]), "the blob, in two ways");
    await stack.docker("rm", "tar-ref");
    await stack.docker("rmi", nameOf("tar-ref"));
    await cachedBecomes(stack, both.slice(1));
    assert.deepEqual((await gcReport(stack)).blobs, []);
    await stack.docker("rm", "tarfs");
    await look("tarfs");
  },
);
