/**
 * Lazy images in user namespaces (`dockerd --userns-remap`): one mount of an image, with host ids for the containers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { run } from "../support/process/command.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { requireNoLeaks } from "../support/docker/docker_leaks.ts";
import { type CountedRegistry, type DockerStack, INSTALLED, type Stack } from "../support/docker/docker_stack.ts";
import { DOCKER_26, testsOn } from "../support/docker/dockerds.ts";
import type { ListedEntry } from "../support/rafs/rafs_fixtures.ts";
import {
  device,
  dir,
  entriesOf,
  fifo,
  file,
  hardlink,
  symlink,
  tarOf,
  xattrs,
} from "../support/archive/tar_builder.ts";
import { walkInChild } from "../support/mount/tree_walk.ts";
import { FIRST_ID, USERNS, withSubordinateIds } from "../support/docker/userns_dockerd.ts";

const NO_NETWORK = ["--network", "none"];
const SLEEP = ["/bin/sleep", "1000"];
const WALK_TIMEOUT_MS = 120_000;

/** `struct vfs_cap_data` of linux/capability.h, version 2: CAP_NET_RAW, effective and permitted. */
const NET_RAW = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/** Bit of CAP_NET_RAW in /proc/PID/status. */
const NET_RAW_IN_STATUS = "0000000000002000";

/** What the image has besides busybox: all kinds of files and owners. */
async function contents(): Promise<Uint8Array> {
  const busybox = await Deno.readFile("/bin/busybox");
  return tarOf(
    dir("etc"),
    file("etc/passwd", "root::0:0::/:/bin/sh\nuser::1000:1000::/:/bin/sh\n", { mode: 0o644 }),
    dir("srv", { uid: 7, gid: 8, mode: 0o2775 }),
    file("srv/f", "layer", { uid: 7, gid: 8, mode: 0o640 }),
    file("srv/highest", "x", { uid: 65_535, gid: 65_535 }),
    file("srv/noted", "x", { uid: 1000, gid: 1000, ...xattrs({ "user.note": "kept" }) }),
    file("srv/large", "0123456789abcdef".repeat(100_000), { uid: 33, gid: 33 }),
    hardlink("srv/again", "srv/f", { uid: 7, gid: 8, mode: 0o640 }),
    symlink("srv/link", "f", { uid: 9, gid: 10 }),
    fifo("srv/pipe"),
    device("srv/null", "char", 1, 3),
    dir("srv/empty", { mode: 0o1777 }),
    dir("secret", { uid: 1000, gid: 1000, mode: 0o700 }),
    file("secret/f", "own", { uid: 1000, gid: 1000, mode: 0o600 }),
    dir("bin"),
    file("bin/su", busybox, { mode: 0o4755 }),
    file("bin/busybox-capable", busybox, { mode: 0o755, ...xattrs({ "security.capability": NET_RAW }) }),
  );
}

/** Pushes the same image in both forms. */
async function pushBoth(registry: CountedRegistry, work: string): Promise<{ ordinary: string; lazy: string }> {
  const ordinary = await registry.pushClassic("userns/app", [await contents()]);
  const lazy = `${registry.host}/userns/lazy:1`;
  const { code, stderr } = await run(["convert", ordinary, lazy, "--work-dir", `${work}/convert`]);
  assert.equal(code, 0, stderr);
  return { ordinary, lazy };
}

/** The image's files as the machine sees them in a container, in comparable form. */
async function shownIn(root: string): Promise<Omit<ListedEntry, "nlink">[]> {
  const entries = await walkInChild(root, AbortSignal.timeout(WALK_TIMEOUT_MS));
  const ofImage = entries.filter(({ path }) => /^\/(bin|srv|secret)(\/|$)/.test(path));
  return ofImage.map(({ nlink, ...entry }) => {
    const capability = entry.xattrs?.["security.capability"];
    const isFolder = entry.type === "dir"; // whose link count tells only how a file system counts
    if (capability === undefined) return { ...entry, ...(isFolder ? {} : { nlink }) };
    return { ...entry, nlink, xattrs: { ...entry.xattrs, "security.capability": ofNamespace(capability) } };
  });
}

/**
 * A capability is for the root of its file's mount. If that is not the reader's own, the kernel appends it (version 3);
 * on overlay2 files are stored as if it were everybody's.
 */
function ofNamespace(base64: string): string {
  const bytes = Uint8Array.fromBase64(base64);
  const view = new DataView(bytes.buffer);
  if (bytes.length !== 24) return base64;
  assert.equal(view.getUint32(20, true), FIRST_ID);
  view.setUint32(0, (view.getUint32(0, true) & 0xff_ffff) | 0x200_0000, true);
  return bytes.subarray(0, 20).toBase64();
}

/** Tests that an image shows the same as on overlay2, by one data path. */
async function compareWithOverlay2({ stack, registry, dir }: Stack, fsDriver: string): Promise<void> {
  const { ordinary, lazy } = await pushBoth(registry, dir);
  await stack.docker("pull", "--quiet", lazy);
  await stack.docker("run", "--detach", "--name", "lazy", ...NO_NETWORK, lazy, ...SLEEP);
  const found = await shownIn(await stack.rootOf("lazy"));
  assert.equal(await stack.docker("inspect", "--format", "{{.GraphDriver.Data.fs_driver}}", "lazy"), fsDriver);
  await requireOneView(stack);

  await using overlay2 = await stack.startOverlay2(USERNS.flags);
  await overlay2.must(["pull", "--quiet", ordinary]);
  await overlay2.must(["run", "--detach", "--name", "ordinary", ...NO_NETWORK, ordinary, ...SLEEP]);
  const pid = await overlay2.must(["inspect", "--format", "{{.State.Pid}}", "ordinary"]);
  assert.deepEqual(found, await shownIn(stack.rootOfPid(Number(pid))));
  assert.deepEqual(found.find(({ path }) => path === "/srv/f")?.uid, FIRST_ID + 7);
  await overlay2.must(["rm", "--force", "ordinary"]);
  await stack.docker("rm", "--force", "lazy");
  await stack.docker("rmi", lazy);
  await requireNoLeaks(stack);
}

/** Whatever was mounted to map owners is gone: containers have overlays only. */
async function requireOneView(stack: DockerStack): Promise<void> {
  const home = `${stack.dataRoot}/${DRIVER_NAME}`;
  const types = (await stack.sandbox.mountinfo()).split("\n").filter((line) => line.includes(home))
    .map((line) => line.split(" - ")[1]?.split(" ")[0]);
  assert.deepEqual(new Set(types), new Set(["overlay"]));
}

for (const fsDriver of TESTED_DATA_PATHS) {
  const { test } = testsOn(withSubordinateIds(INSTALLED));
  test(
    `with user namespaces a lazy image looks as it does on overlay2 (${fsDriver})`,
    (parts) => compareWithOverlay2(parts, fsDriver),
    { ...USERNS, flags: [...USERNS.flags, "--storage-opt", `nydus-gd.fs-driver=${fsDriver}`] },
  );
}

for (const dockerd of [INSTALLED, DOCKER_26]) {
  const { test } = testsOn(withSubordinateIds(dockerd));

  test("with user namespaces containers of a lazy image live as others do", async (parts, t) => {
    const { stack, registry, dir: folder } = parts;
    const { lazy } = await pushBoth(registry, folder);
    const once = (image: string, ...command: string[]) =>
      stack.docker("run", "--rm", ...NO_NETWORK, image, "/bin/busybox", ...command);
    const owners = (...names: string[]) => ["stat", "-c", "%u:%g", ...names];
    await stack.docker("pull", "--quiet", lazy);
    await stack.docker("run", "--detach", "--name", "box", ...NO_NETWORK, lazy, ...SLEEP);
    const inBox = (...command: string[]) => stack.docker("exec", "box", "/bin/busybox", ...command);

    await t.step("owners are the image's inside, and files can be changed", async () => {
      assert.equal(await inBox(...owners("/", "/bin", "/srv/f", "/srv/highest")), "0:0\n0:0\n7:8\n65535:65535");
      await inBox("sh", "-c", "echo more >>/srv/f; chown 5:6 /srv/noted; touch /srv/empty/new; rm /srv/link");
      assert.equal(await inBox(...owners("/srv/f", "/srv/noted", "/srv/empty/new")), "7:8\n5:6\n0:0");
      assert.equal(await inBox("cat", "/srv/f"), "layermore");
      const upper = await stack.docker("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", "box");
      const { uid, gid } = await Deno.lstat(`${upper}/srv/f`);
      assert.deepEqual([uid, gid], [FIRST_ID + 7, FIRST_ID + 8]);
    });

    await t.step("permissions, setuid programs and capabilities of files apply", async () => {
      const as = (user: string, ...command: string[]) => stack.docker("exec", "--user", user, "box", ...command);
      assert.equal(await as("1000:1000", "/bin/cat", "/secret/f"), "own");
      await assert.rejects(as("1001", "/bin/cat", "/secret/f"), /Permission denied/);
      assert.equal(await inBox("cat", "/secret/f"), "own"); // root may read anything
      assert.match(await as("1000", "/bin/su", "-c", "/bin/busybox id -u"), /^0$/m);
      const status = ["cat", "/proc/self/status"];
      assert.match(
        await as("1000", "/bin/busybox-capable", ...status),
        new RegExp(`^CapEff:\\s+${NET_RAW_IN_STATUS}$`, "m"),
      );
      await inBox("touch", "/bin/busybox-capable"); // copied to the container
      assert.match(
        await as("1000", "/bin/busybox-capable", ...status),
        new RegExp(`^CapEff:\\s+${NET_RAW_IN_STATUS}$`, "m"),
      );
    });

    await t.step("what leaves the container has its own ids", async () => {
      assert.deepEqual((await stack.docker("diff", "box")).split("\n").sort(), [
        "A /srv/empty/new",
        "C /bin",
        "C /bin/busybox-capable",
        "C /srv",
        "C /srv/empty",
        "C /srv/f",
        "C /srv/noted",
        "D /srv/link",
      ]);
      await stack.docker("commit", "box", "committed");
      const committed = await once("committed", ...owners("/srv/f", "/srv/noted", "/srv/empty/new", "/srv/large"));
      assert.equal(committed, "7:8\n5:6\n0:0\n33:33");
      await stack.docker("save", "--output", `${folder}/saved.tar`, "committed");
      const saved = await topLayer(`${folder}/saved.tar`);
      assert.deepEqual(saved.filter(({ name }) => name.startsWith("srv/") || name === "bin/busybox-capable"), [
        { name: "bin/busybox-capable", owner: "0:0", capability: NET_RAW },
        { name: "srv/", owner: "7:8" },
        { name: "srv/.wh.link", owner: "0:0" },
        { name: "srv/empty/", owner: "0:0" },
        { name: "srv/empty/new", owner: "0:0" },
        { name: "srv/f", owner: "7:8" },
        { name: "srv/noted", owner: "5:6" },
      ]);
      await stack.docker("cp", "box:/srv/large", `${folder}/large`);
      assert.equal((await Deno.readTextFile(`${folder}/large`)).length, 1_600_000);
      await stack.docker("cp", `${folder}/large`, "box:/srv/copied");
      assert.equal(await inBox("wc", "-c", "/srv/copied"), "1600000 /srv/copied");
    });

    await t.step("images are built on it", async () => {
      const context = `${folder}/context`;
      await Deno.mkdir(context);
      await Deno.writeTextFile(`${context}/file`, "from the context\n");
      const steps = `FROM ${lazy}\nRUN /bin/echo built >>/srv/f\nCOPY --chown=11:12 file /sub/file\n`;
      await Deno.writeTextFile(`${context}/Dockerfile`, `${steps}CMD ["/bin/cat", "/srv/f", "/sub/file"]\n`);
      for (const DOCKER_BUILDKIT of dockerd === DOCKER_26 ? ["0", "1"] : ["0"]) {
        const env = { DOCKER_BUILDKIT };
        await stack.daemon.must(["build", "--no-cache", "--tag", "built", ...NO_NETWORK, context], { env });
        assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, "built"), "layerbuilt\nfrom the context");
        assert.equal(await once("built", ...owners("/srv/f", "/sub/file", "/srv/large")), "7:8\n11:12\n33:33");
      }
    });

    await t.step("with read-only roots, volumes, and in the machine's own user namespace", async () => {
      const runWith = (options: string[], ...command: string[]) =>
        stack.docker("run", "--rm", ...NO_NETWORK, ...options, lazy, "/bin/busybox", ...command);
      assert.equal(await runWith(["--read-only"], ...owners("/srv/f")), "7:8");
      assert.equal(await runWith(["--volume", "kept:/srv"], ...owners("/srv", "/srv/f")), "7:8\n7:8");
      assert.equal(await runWith(["--volume", "kept:/srv"], "cat", "/srv/f"), "layer");
      await stack.docker("volume", "rm", "kept");
      const shifted = `${FIRST_ID}:${FIRST_ID}\n${FIRST_ID + 7}:${FIRST_ID + 8}`;
      assert.equal(await runWith(["--userns", "host"], ...owners("/bin", "/srv/f")), shifted);
      const asUser = ["--userns", "host", "--user", "1000", "--entrypoint", "/bin/busybox-capable"];
      const status = await stack.docker("run", "--rm", ...NO_NETWORK, ...asUser, lazy, "cat", "/proc/self/status");
      assert.match(status, /^CapEff:\s+0+$/m); // the capability is for the root of the other namespace
    });

    await t.step("after a kill of the driver, and of dockerd", async () => {
      await stack.driver.kill();
      await stack.restartDriver();
      assert.equal(await inBox(...owners("/srv/again", "/srv/copied")), "7:8\n0:0");
      assert.equal(await inBox("cat", "/srv/again"), "layer");
      assert.equal(await once(lazy, ...owners("/srv/f", "/secret/f")), "7:8\n1000:1000");
      await stack.crashDaemon();
      assert.equal(await inBox(...owners("/srv/again")), "7:8");
      await stack.docker("restart", "--time", "0", "box");
      assert.equal(await inBox(...owners("/srv/f", "/srv/pipe")), "7:8\n0:0");
    });

    await stack.docker("rm", "--force", "box");
    await stack.docker("rmi", "built", "committed", lazy);
    await stack.docker("image", "prune", "--force");
    await stack.docker("builder", "prune", "--all", "--force");
    await requireNoLeaks(stack);
    assert.deepEqual([await stack.overlays(), await stack.layers()], [[], []]);
  }, { ...USERNS, flags: [...USERNS.flags, "--live-restore"] });
}

testsOn(withSubordinateIds(INSTALLED)).test(
  "an image with an owner outside of the user namespace is refused in both forms",
  async ({ stack, registry, dir: folder }) => {
    const ordinary = await registry.pushClassic("userns/far", [tarOf(dir("srv"), file("srv/f", "x", { uid: 65_536 }))]);
    const lazy = `${registry.host}/userns/far-lazy:1`;
    const { code, stderr } = await run(["convert", ordinary, lazy, "--work-dir", `${folder}/convert`]);
    assert.equal(code, 0, stderr);
    for (const [image, named] of [[ordinary, "owner 65536:0"], [lazy, 'owner 65536:0 of "/srv/f"']] as const) {
      const pull = await stack.daemon.docker(["pull", "--quiet", image]);
      assert.notEqual(pull.code, 0);
      assert.match(pull.stderr, new RegExp(`${named} is outside the user namespace`));
    }
    await requireNoLeaks(stack);
  },
  USERNS,
);

/** Entries of the topmost layer of an image that `docker save` wrote, in the order of their names. */
async function topLayer(path: string): Promise<{ name: string; owner: string; capability?: string }[]> {
  const read = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("tar", { args }).output();
    if (!success) throw new Error(`tar ${args.join(" ")} failed`);
    return stdout;
  };
  const decoder = new TextDecoder();
  const [manifest] = JSON.parse(decoder.decode(await read("-xOf", path, "manifest.json"))) as { Layers: string[] }[];
  const entries = entriesOf(await read("-xOf", path, manifest?.Layers.at(-1) ?? ""));
  return entries.map(({ name, uid, gid, xattrs }) => {
    const capability = xattrs.get("security.capability");
    const shown = { name: decoder.decode(name), owner: `${uid}:${gid}` };
    return capability === undefined ? shown : { ...shown, capability: String.fromCharCode(...capability) };
  }).sort((a, b) => a.name < b.name ? -1 : 1);
}
