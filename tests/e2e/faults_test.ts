/**
 * Failures between dockerd, the registry and a container, and what the user gets: an error message, or EIO in time.
 *
 * @module
 */
import assert from "node:assert/strict";
import { bootstrapLayerTar } from "../../lib/image/build/image_builder.ts";
import { busyboxLayer, dockerMissing, DockerStack } from "../support/docker/docker_stack.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { storeImage, storeLazy } from "../support/image/lazy_images.ts";
import { fixtureOf, readFixtureBootstrap, readListing } from "../support/rafs/rafs_fixtures.ts";
import { file as tarFile, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until, untilEqual } from "../support/until.ts";

const missing = dockerMissing();
if (missing !== undefined) console.log(`skipped: ${missing}`);
const ignore = missing !== undefined;

/** Many small files, each in its own compressed chunks. */
const SMALL_FILES = "v6-prefetch-fs";
const NO_NETWORK = ["--network", "none"];
const USER = "alice";
const PASSWORD = "open sesame:1";

/** Short, so that a silent registry is given up soon. Of two attempts each has half of the time. */
const LIMITS = {
  NYDUS_GD_PREFETCH_READ_AHEAD: "0",
  NYDUS_GD_FETCH_DEADLINE: "3s",
  NYDUS_GD_FETCH_RETRIES: "1",
};
const SILENCE = /no data within 1500 ms/;

/** The environment of a test. */
interface Parts {
  readonly stack: DockerStack;
  readonly registry: FakeRegistry;
  /** Gives the password to Docker and to us. */
  login(password: string): Promise<void>;
}

/** Runs `test` with a registry in this process and its own dockerd. */
async function withFaults(test: (parts: Parts) => Promise<void>): Promise<void> {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start({ auth: "basic", user: USER, password: PASSWORD });
  const client = temp.join("client"); // the path that DockerDaemon uses
  await Deno.mkdir(client);
  const login = (password: string) =>
    Deno.writeTextFile(
      `${client}/config.json`,
      JSON.stringify({ auths: { [registry.host]: { auth: btoa(`${USER}:${password}`) } } }),
    );
  await login(PASSWORD);
  await using stack = await DockerStack.start(temp.path, LIMITS);
  await test({ stack, registry, login });
}

/** Error output of a command that must fail. */
async function refused(stack: DockerStack, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.daemon.docker(args);
  assert.notEqual(code, 0, `docker ${args.join(" ")} succeeded: ${stdout}`);
  return stderr.trim();
}

Deno.test({ name: "pulling a damaged bootstrap fails with an error message and leaves nothing", ignore }, async (t) => {
  await withFaults(async ({ stack, registry }) => {
    const good = await readFixtureBootstrap(fixtureOf(SMALL_FILES));
    const zeroed = good.slice();
    zeroed.fill(0, 0x1000, 0x2000);
    const damaged: Record<string, Uint8Array> = {
      "cut to a half": good.slice(0, good.length >> 1),
      "cut to its super block": good.slice(0, 1024 + 128),
      "with zeros for its inodes": zeroed,
      "of random bytes": crypto.getRandomValues(new Uint8Array(8192)),
      "with nothing in it": new Uint8Array(),
    };
    const busybox = await busyboxLayer();
    let tag = 0;
    for (const [name, bytes] of Object.entries(damaged)) {
      await t.step(`a bootstrap ${name} is refused by docker pull, which leaves no layer`, async () => {
        const { reference } = await storeImage(registry, `bad-${tag++}`, [bootstrapLayerTar(bytes), busybox]);
        const message = await refused(stack, "pull", reference);
        assert.match(message, /failed to register layer: .*Cannot (read|open|apply|use) [^:]*: /);
        assert.deepEqual(await stack.layers(), []);
        assert.deepEqual(await stack.overlays(), []);
      });
    }
    await t.step("an intact one is pulled and runs afterwards", async () => {
      const { reference } = await storeLazy(registry, { tag: "good", made: SMALL_FILES, above: [busybox] });
      await stack.docker("pull", reference);
      const run = ["run", "--rm", ...NO_NETWORK, reference];
      await untilEqual(() => digestIn(stack, run, "/lib/mod03.txt"), sha256Of(3));
    });
  });
});

Deno.test({ name: "a cancelled pull leaves nothing", ignore }, async (t) => {
  await withFaults(async ({ stack, registry }) => {
    const lower = tarOf(tarFile("below", "text"));
    await t.step("cancelled while a layer is stalled, and the next pull is complete", async () => {
      const image = await storeImage(registry, "stalls", [lower, tarOf(tarFile("above", crypto.randomUUID()))]);
      const layer = `/v2/app/blobs/sha256:${image.topLayer}`;
      registry.stalled.add(image.topLayer);
      await cancelledPull(
        stack,
        image.reference,
        async () => registry.count("GET", layer) > 0 && (await stack.layers()).length > 0,
      );
      registry.stalled.clear();
      registry.dropConnections(); // dockerd waits for the response to a request that is no longer needed
      await until("every layer is removed", async () => (await stack.layers()).length === 0);
      await stack.docker("pull", image.reference);
      await stack.docker("rmi", image.reference);
    });
    // takes 15 s: dockerd sends the rest of a cancelled layer repeatedly before it removes it
    await t.step("cancelled while a layer is unpacked", async () => {
      const files = Array.from({ length: 120 }, (_, i) => tarFile(`file-${i}`, new Uint8Array(256 << 10)));
      const image = await storeImage(registry, "large", [tarOf(...files)]);
      await cancelledPull(stack, image.reference, async () => (await stack.layers()).length > 0);
      await until("there is no layer, or the complete image", async () =>
        (await stack.layers()).length === 0 ||
        (await stack.daemon.docker(["rmi", image.reference])).code === 0);
    });
    assert.deepEqual(await stack.layers(), []);
    assert.deepEqual(await stack.overlays(), []);
  });
});

Deno.test(
  { name: "a container gets EIO while its data cannot be fetched, and recovers afterwards", ignore },
  async (t) => {
    await withFaults(async ({ stack, registry, login }) => {
      const image = await storeLazy(registry, { tag: "lazy", made: SMALL_FILES, above: [await busyboxLayer()] });
      const [blob = ""] = image.blobs;
      await stack.docker("pull", image.reference);

      const started = await t.step("docker create reports what is missing", async () => {
        await stack.restartDriver(); // what the pull has mounted is mounted anew
        await registry.goDown();
        const down = await refused(stack, "create", ...NO_NETWORK, image.reference, "/bin/sleep", "1000");
        assert.match(down, new RegExp(`Cannot find the blobs of the image: registry ${registry.host}/app: .*refused`));
        await registry.comeBack();
        const bytes = registry.replaceBlob(blob, undefined);
        const gone = await refused(stack, "create", ...NO_NETWORK, image.reference, "/bin/sleep", "1000");
        assert.match(gone, new RegExp(`Cannot find the blobs of the image: .*${blob}.*HTTP 404`));
        registry.replaceBlob(blob, bytes);
        await stack.docker("run", "-d", "--name", "reader", ...NO_NETWORK, image.reference, "/bin/sleep", "1000");
      });

      if (!started) return;

      const read = (file: number) => digestIn(stack, ["exec", "reader"], pathOf(file));
      let next = 0;
      /** Reads fail while `fault` lasts, one log line gives the reason, and reads succeed afterwards. */
      const fails = (name: string, fault: () => unknown, cause: RegExp, mend: () => unknown) =>
        t.step(name, async () => {
          const before = (await readFailures(stack)).length;
          const first = next;
          next += 3;
          await fault();
          assert.deepEqual(await Promise.all([first, first + 1].map(read)), ["EIO", "EIO"]);
          assert.equal(await read(first), "EIO", "again");
          await until("the failure is logged", async () => (await readFailures(stack)).length > before);
          const logged = (await readFailures(stack)).slice(before);
          assert.equal(logged.length, 1, JSON.stringify(logged));
          assert.equal(logged[0]?.blob, blob);
          assert.match(String(logged[0]?.image), /^[0-9a-f]{64}$/);
          assert.match(String(logged[0]?.cause), cause);
          await mend();
          // a busy machine may exceed the short limits
          for (const file of [first, first + 1, first + 2]) await untilEqual(() => read(file), sha256Of(file));
        });

      const answersAgain = () => {
        registry.lasting = undefined;
      };

      // at the first read the blob is not open yet: its chunk table cannot be fetched either
      await fails("the registry is silent", () => registry.lasting = { kind: "stall" }, SILENCE, answersAgain);
      await fails(
        "the registry is silent in the middle",
        () => registry.lasting = { kind: "stall", after: 10 },
        SILENCE,
        answersAgain,
      );
      await fails("the registry is down", () => registry.goDown(), /refused/, () => registry.comeBack());
      await fails(
        "the registry fails",
        () => registry.lasting = { kind: "status", status: 503 },
        /HTTP 503/,
        answersAgain,
      );
      await fails(
        "the password is wrong",
        () => registry.changePassword("another"),
        /refused: it does not accept user and password/,
        () => login("another"),
      );
      let bytes: Uint8Array | undefined;
      await fails(
        "the blob is deleted",
        () => bytes = registry.replaceBlob(blob, undefined),
        /HTTP 404/,
        () => registry.replaceBlob(blob, bytes),
      );
      await fails(
        "the data are wrong",
        () => registry.lasting = { kind: "corrupt" },
        /Cannot read chunk/,
        answersAgain,
      );
      await t.step("files that were read before are still right", async () => {
        for (let file = 0; file < next; file++) assert.equal(await read(file), sha256Of(file));
      });
      await stack.docker("rm", "-f", "reader");
    });
  },
);

/** Contents of /dev on a machine without FUSE. */
const NO_FUSE = "mount -t tmpfs tmpfs /dev && cd /dev && mkdir pts shm && ln -s pts/ptmx ptmx && " +
  "mknod -m 666 null c 1 3 && mknod -m 666 zero c 1 5 && mknod -m 666 random c 1 8 && mknod -m 666 urandom c 1 9";

Deno.test({ name: "without FUSE ordinary images run, and a lazy one reports what it needs", ignore }, async () => {
  await withFaults(async ({ stack, registry }) => {
    const busybox = await busyboxLayer();
    const classic = await storeImage(registry, "classic", [busybox]);
    const lazy = await storeLazy(registry, { tag: "lazy", made: SMALL_FILES, above: [busybox] });
    const inSandbox = async (script: string) =>
      assert.ok((await stack.sandbox.spawn("sh", ["-ec", script]).status).success, script);
    await inSandbox(NO_FUSE);
    await stack.docker("pull", classic.reference);
    await stack.docker("pull", lazy.reference);
    assert.equal(await stack.docker("run", "--rm", ...NO_NETWORK, classic.reference, "/bin/echo", "ran"), "ran");
    const message = await refused(stack, "create", ...NO_NETWORK, lazy.reference, "/bin/sleep", "1000");
    assert.match(message, /Cannot open "\/dev\/fuse": ENOENT \(hint: modprobe fuse\)/);
    await inSandbox("umount /dev");
    const run = ["run", "--rm", ...NO_NETWORK, lazy.reference];
    await untilEqual(() => digestIn(stack, run, pathOf(3)), sha256Of(3));
  });
});

/** The path of a small file of the fixture. */
function pathOf(file: number): string {
  return `/lib/mod${String(file).padStart(2, "0")}.txt`;
}

function sha256Of(file: number): string | undefined {
  return readListing(fixtureOf(SMALL_FILES).listing).find(({ path }) => path === pathOf(file))?.sha256;
}

/** sha256 of a file as read in a container, or "EIO". */
async function digestIn(stack: DockerStack, run: readonly string[], path: string): Promise<string> {
  const { code, stdout, stderr } = await stack.daemon.docker([...run, "/bin/sha256sum", path]);
  if (code === 0) return stdout.split(" ")[0] ?? "";
  assert.match(stderr, /I\/O error|Input\/output error/);
  return "EIO";
}

/** Log lines of `serve` about failed reads. */
async function readFailures(stack: DockerStack): Promise<Record<string, unknown>[]> {
  return (await stack.serveLog()).filter(({ message }) => message === "read failed");
}

/** Starts a pull, and kills the client when `isTime` is true. */
async function cancelledPull(stack: DockerStack, reference: string, isTime: () => Promise<boolean>): Promise<void> {
  const child = new Deno.Command("docker", {
    args: ["--host", stack.daemon.host, "pull", reference],
    env: { DOCKER_CONFIG: `${stack.dir}/client` },
    stdout: "null",
    stderr: "null",
  }).spawn();
  await until("the pull is under way", isTime);
  child.kill("SIGKILL");
  await child.status;
}
