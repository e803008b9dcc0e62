/**
 * The main use case with real programs: dockerd starts containers of lazy and ordinary images from docker-registry.
 *
 * @module
 */
import assert from "node:assert/strict";
import { VERSION } from "../../lib/base/version.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { type DockerStack, SECTION_TIMEOUT_MS } from "../support/docker/docker_stack.ts";
import { fixtureOf, type ListedEntry, readListing } from "../support/rafs/rafs_fixtures.ts";
import { walkInChild } from "../support/mount/tree_walk.ts";
import { touchedBytes } from "../support/rafs/touched_chunks.ts";
import { until } from "../support/until.ts";

/** A tree with every kind of file, name and attribute, made by nydus-image. */
const EVERYTHING = "v6-none-sha256-4k";
/** Small files in compressed chunks. */
const SMALL_FILES = "v6-prefetch-fs";
const OLD = "v5-lz4-sha256-64k";

const NO_NETWORK = ["--network", "none"];

/** Entries of the storage driver in `docker info`, by name. */
async function driverStatus(stack: DockerStack): Promise<Map<string, string>> {
  return new Map(JSON.parse(await stack.docker("info", "--format", "{{json .DriverStatus}}")));
}

eachDockerd(({ test }) => {
  test("docker info shows the driver, its state and its problems", async ({ stack, registry }) => {
    const lazy = await registry.pushLazy(SMALL_FILES, "lazy/info");
    await stack.docker("run", "--detach", "--name", "one", ...NO_NETWORK, lazy, "/bin/sleep", "1000");
    const shown = await driverStatus(stack);
    assert.equal(await stack.docker("info", "--format", "{{.Driver}}"), "nydus-gd");
    assert.deepEqual([shown.get("Version"), shown.get("Kernel")], [VERSION, Deno.osRelease()]);
    assert.match(shown.get("Data Path") ?? "", /^[a-z-]+ \(.+\)$/);
    assert.equal(shown.get("Cache Folder"), `${stack.dir}/root/cache`);
    assert.match(shown.get("Cache Fill") ?? "", /^\S+ \S+ used, \S+ \S+ free of \S+ \S+$/);
    assert.deepEqual([shown.get("Lazy Images Mounted"), shown.get("Layers mounted")], ["1", "1"]);
    assert.equal(shown.get("Warning"), undefined);
    await Deno.remove(`${stack.dir}/root/cache`, { recursive: true });
    assert.match((await driverStatus(stack)).get("Warning") ?? "", /cache/);
    await stack.docker("rm", "--force", "one");
  });

  for (const fsDriver of TESTED_DATA_PATHS) {
    const options = { flags: ["--storage-opt", `nydus-gd.fs-driver=${fsDriver}`] };
    test(
      `a lazy image is pulled without its data and shows the whole tree in a container (${fsDriver})`,
      async ({ stack, registry }) => {
        for (const name of [EVERYTHING, OLD]) {
          const reference = await registry.pushLazy(name, `lazy/${name}`);
          registry.proxy.reset();
          await stack.docker("pull", reference);
          const pulled = registry.proxy.traffic().bytes - registry.ordinaryBytes(reference);
          assert.ok(pulled < 200_000, `${pulled} bytes were pulled beside the ordinary layer`);

          const container = await stack.docker("run", "-d", ...NO_NETWORK, reference, "/bin/sleep", "1000");
          const root = await stack.rootOf(container);
          const found = await walkInChild(root, AbortSignal.timeout(SECTION_TIMEOUT_MS));
          const expected = readListing(fixtureOf(name).listing).filter(({ path }) => path !== "/").map(
            withoutOverlayXattrs,
          );
          const wanted = new Set(expected.map(({ path }) => path));
          assert.deepEqual(found.filter(({ path }) => wanted.has(path)), expected, name);
          const graph = JSON.parse(await stack.docker("inspect", "--format", "{{json .GraphDriver}}", container));
          assert.equal(graph.Data.fs_driver, fsDriver);
          await stack.docker("rm", "-f", container);
        }
      },
      options,
    );

    test(
      `a container fetches the chunks that it reads and at most a tenth more (${fsDriver})`,
      async ({ stack, registry }) => {
        const reference = await registry.pushLazy(SMALL_FILES, "lazy/touch");
        await stack.docker("pull", reference);
        registry.proxy.reset();
        const files = ["/lib/mod03.txt", "/lib/mod17.txt"];
        await stack.docker("run", "--rm", ...NO_NETWORK, reference, "/bin/cat", ...files);
        const { bytes } = registry.proxy.traffic();
        const { chunks, meta } = await touchedBytes(fixtureOf(SMALL_FILES), files);
        assert.ok(bytes >= chunks, `${bytes} bytes came, the touched chunks have ${chunks}`);
        assert.ok(
          bytes <= (chunks + meta) * 1.1,
          `${bytes} bytes came for ${chunks} of chunks and ${meta} of blob meta`,
        );
      },
      options,
    );
  }

  test(
    "the file that a container's command names is fetched, whether or not the container reads it",
    async ({ stack, registry }) => {
      const reference = await registry.pushLazy(SMALL_FILES, "lazy/named");
      await stack.docker("pull", reference);
      const fetched = () => registry.proxy.traffic().bytes;
      const started = async (...args: string[]) => {
        registry.proxy.reset();
        const command = ["/bin/busybox", "true", ...args];
        await stack.docker("run", "--rm", "--workdir", "/lib", ...NO_NETWORK, reference, ...command);
        return fetched();
      };
      await started();
      const { chunks } = await touchedBytes(fixtureOf(SMALL_FILES), ["/lib/mod03.txt"]);
      assert.equal(await started("mod99.txt"), 0, "no such file");
      await started("--from=mod03.txt");
      // the container may end before that
      await until(() => `${chunks} bytes were fetched, not ${fetched()}`, () => fetched() >= chunks);
      assert.equal(await started("/lib/mod03.txt"), 0, "it is here");
    },
    { env: { NYDUS_GD_PREFETCH_READ_AHEAD: "4KiB" } },
  );

  test("containers of lazy and ordinary images behave as on overlay2", async ({ stack, registry, dir }, t) => {
    const lazy = await registry.pushLazy(SMALL_FILES, "lazy/app");
    const classic = await registry.pushClassic("classic/app");
    await stack.docker("pull", lazy);
    await stack.docker("pull", classic);
    const run = (image: string, ...command: string[]) => stack.docker("run", "--rm", ...NO_NETWORK, image, ...command);
    const before = await stack.layers();

    await t.step("exec, cp, diff, ps -s and inspect show a container as on overlay2", async () => {
      await stack.docker("run", "-d", "--name", "one", ...NO_NETWORK, lazy, "/bin/sleep", "1000");
      await stack.docker(
        "exec",
        "one",
        "/bin/sh",
        "-c",
        "echo changed > /lib/mod03.txt; rm /lib/mod04.txt; mkdir /new",
      );
      assert.equal(await stack.docker("exec", "one", "/bin/cat", "/lib/mod03.txt"), "changed");
      await stack.docker("cp", "one:/lib/mod05.txt", `${dir}/out.txt`);
      const inside = await stack.docker("exec", "one", "/bin/sha256sum", "/lib/mod05.txt");
      assert.equal(inside.split(" ")[0], await sha256Of(`${dir}/out.txt`));
      await stack.docker("cp", `${dir}/out.txt`, "one:/copied");
      assert.equal(
        (await stack.docker("exec", "one", "/bin/sha256sum", "/copied")).split(" ")[0],
        inside.split(" ")[0],
      );
      const diff = (await stack.docker("diff", "one")).split("\n").sort();
      assert.deepEqual(diff, ["A /copied", "A /new", "C /lib", "C /lib/mod03.txt", "D /lib/mod04.txt"]);
      assert.match(await stack.docker("ps", "-s", "--format", "{{.Size}}"), /virtual/);
      const graph = JSON.parse(await stack.docker("inspect", "--format", "{{json .GraphDriver}}", "one"));
      assert.equal(graph.Name, "nydus-gd");
      const chosen = (await driverStatus(stack)).get("Data Path");
      assert.equal(graph.Data.fs_driver, chosen?.split(" ")[0]);
    });

    await t.step("commit keeps the changes on top of the lazy image", async () => {
      await stack.docker("commit", "one", "committed");
      const script = "cat /lib/mod03.txt; ls /lib/mod04.txt 2>/dev/null; sha256sum /lib/mod06.txt";
      const [first, ...rest] = (await run("committed", "/bin/sh", "-c", `${script}; exit 0`)).split("\n");
      assert.equal(first, "changed");
      assert.deepEqual(rest, [await run(lazy, "/bin/sha256sum", "/lib/mod06.txt")]);
    });

    await t.step("build FROM lazy and FROM classic", async () => {
      for (const [image, tag] of [[lazy, "built-lazy"], [classic, "built-classic"]] as const) {
        await Deno.mkdir(`${dir}/${tag}`);
        await Deno.writeTextFile(`${dir}/${tag}/file`, "from the context\n");
        const dockerfile =
          `FROM ${image}\nRUN echo built > /built\nCOPY file /file\nCMD ["/bin/cat", "/built", "/file"]\n`;
        await Deno.writeTextFile(`${dir}/${tag}/Dockerfile`, dockerfile);
        await stack.docker("build", ...NO_NETWORK, "-t", tag, `${dir}/${tag}`);
        assert.equal(await run(tag), "built\nfrom the context");
      }
    });

    await requireNoLeaks(stack);

    await t.step("two containers of one image do not see each other's changes", async () => {
      await stack.docker("run", "-d", "--name", "two", ...NO_NETWORK, lazy, "/bin/sleep", "1000");
      assert.notEqual(await stack.docker("exec", "two", "/bin/cat", "/lib/mod03.txt"), "changed");
      await stack.docker("stop", "-t", "0", "one");
      await stack.docker("start", "one");
      assert.equal(await stack.docker("exec", "one", "/bin/cat", "/lib/mod03.txt"), "changed");
    });

    await t.step("docker save of a lazy image contains the bootstrap, not the data", async () => {
      await stack.docker("save", "-o", `${dir}/saved.tar`, lazy);
      const { size } = await Deno.stat(`${dir}/saved.tar`);
      assert.ok(size < 3_000_000, `${size} bytes`);
      await stack.docker("save", "-o", `${dir}/saved-classic.tar`, classic);
    });

    await t.step("docker rm and rmi leave no layer and no mount", async () => {
      await stack.docker("rm", "-f", "one", "two");
      await stack.docker("rmi", "committed", "built-lazy", "built-classic");
      assert.deepEqual(await stack.layers(), before);
      await stack.docker("rmi", lazy, classic);
      assert.deepEqual(await stack.layers(), []);
      assert.deepEqual(await stack.overlays(), []);
    });
  });

  test("two lazy images from two registries run at once", async ({ stack, registry, startRegistry }) => {
    const other = await startRegistry();
    const first = await registry.pushLazy(SMALL_FILES, "team/app");
    const second = await other.pushLazy(OLD, "team/app");
    await stack.docker("pull", first);
    await stack.docker("pull", second);
    await stack.docker("run", "-d", "--name", "first", ...NO_NETWORK, first, "/bin/sleep", "1000");
    await stack.docker("run", "-d", "--name", "second", ...NO_NETWORK, second, "/bin/sleep", "1000");
    for (const [container, name] of [["first", SMALL_FILES], ["second", OLD]] as const) {
      const files = readListing(fixtureOf(name).listing).filter(({ type, path }) =>
        type === "reg" && !path.includes("%")
      );
      const [asked, digests] = [files.slice(0, 20).map(({ path }) => path), files.slice(0, 20).map((f) => f.sha256)];
      const lines = (await stack.docker("exec", container, "/bin/sha256sum", ...asked)).split("\n");
      assert.deepEqual(lines.map((line) => line.split(" ")[0]), digests, name);
    }
    await stack.docker("rm", "-f", "first", "second");
  });

  test("daemon and driver restart between containers", async ({ stack, registry }) => {
    const lazy = await registry.pushLazy(SMALL_FILES, "lazy/restart");
    await stack.docker("pull", lazy);
    const read = () => stack.docker("run", "--rm", ...NO_NETWORK, lazy, "/bin/sha256sum", "/lib/mod03.txt");
    const digest = await read();
    await stack.docker("create", "--name", "kept", ...NO_NETWORK, lazy, "/bin/sha256sum", "/lib/mod03.txt");

    await stack.restartDriver();
    registry.proxy.reset();
    assert.equal(await read(), digest);
    assert.equal(registry.proxy.traffic().bytes, 0, "a warm cache fetches nothing");

    await stack.restartDaemon();
    assert.equal(await read(), digest);
    assert.equal(await stack.docker("start", "-a", "kept"), digest);

    await stack.driver.kill();
    await stack.restartDriver();
    assert.equal(await read(), digest);
    await stack.docker("rm", "kept");
    assert.deepEqual(await stack.overlays(), []);
  });
});

/** An overlay hides its own attributes, as overlay2's does. */
function withoutOverlayXattrs({ xattrs = {}, ...entry }: ListedEntry): ListedEntry {
  const kept = Object.entries(xattrs).filter(([name]) => !name.startsWith("trusted.overlay."));
  return kept.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(kept) };
}

async function sha256Of(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}
