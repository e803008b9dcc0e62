/**
 * A lazy image that is saved, loaded, pushed elsewhere, pulled and committed. Its bootstrap layer stays byte-exact. Its
 * blobs stay in their registry and are found there, or the start reports what is missing and succeeds once it is
 * available.
 *
 * @module
 */
import assert from "node:assert/strict";
import { busyboxLayer, type Dockerd, DockerStack } from "../support/docker/docker_stack.ts";
import { DOCKER_26, eachDockerd } from "../support/docker/dockerds.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { storeLazy } from "../support/image/lazy_images.ts";
import { fixtureOf, RAFS_FIXTURES, readFixtureBootstrap, readListing } from "../support/rafs/rafs_fixtures.ts";
import { RegistryClient } from "../support/backend/registry_client.ts";
import { savedDiffIds } from "../support/image/saved_image.ts";

/** An image with three blobs, one per original layer. */
const LAZY = "v6-layers-merged";
/** A file of each blob. */
const FILES = ["/keep/k1", "/keep/k2", "/new3/f"];
const USER = "alice";
const PASSWORD = "open sesame:1";
const NO_NETWORK = ["--network", "none"];

eachDockerd(({ test, dockerd }) => {
  test("a lazy image starts on any machine from which its blobs can be reached", async (parts, t) => {
    const { stack, registry: second, dir } = parts;
    await using first = await FakeRegistry.start({ auth: "basic", user: USER, password: PASSWORD });
    const above = [await busyboxLayer()];
    const named = await storeLazy(first, { tag: "named", made: LAZY, above, named: first.host });
    const plain = await storeLazy(first, { tag: "plain", made: LAZY, above });
    const astray = await storeLazy(first, { tag: "astray", made: LAZY, above, named: second.host });
    const images = { named: named.reference, plain: plain.reference, astray: astray.reference };
    const diffIds: Record<string, string[]> = {};

    const left = await t.step("save, push and commit keep the bootstrap layer byte for byte", async () => {
      await login(stack, first.host, PASSWORD);
      for (const [name, reference] of Object.entries(images)) {
        await stack.docker("pull", "--quiet", reference);
        diffIds[name] = await layersOf(stack, reference);
        await stack.docker("save", "--output", `${dir}/${name}.tar`, reference);
        assert.deepEqual(await savedDiffIds(`${dir}/${name}.tar`), diffIds[name]);
        await stack.docker("tag", reference, `${second.host}/copy:${name}`);
        await stack.docker("push", "--quiet", `${second.host}/copy:${name}`);
      }
      await stack.docker("create", "--name", "changed", ...NO_NETWORK, images.named, "/bin/sh");
      await stack.docker("cp", "/etc/hostname", "changed:/copied");
      await stack.docker("commit", "changed", "committed");
      const [bootstrap, busybox, added] = await layersOf(stack, "committed");
      assert.deepEqual([bootstrap, busybox], diffIds.named);
      await stack.docker("save", "--output", `${dir}/committed.tar`, "committed");
      assert.deepEqual(await savedDiffIds(`${dir}/committed.tar`), [bootstrap, busybox, added]);
    });
    if (!left) return;

    await using other = await startStack(`${dir}/b`, dockerd, { trustedOrigins: first.host });
    for (const name of [...Object.keys(images), "committed"]) {
      await Deno.rename(`${dir}/${name}.tar`, `${dir}/b/${name}.tar`); // each dockerd sees its own folder only
      await other.docker("load", "--quiet", "--input", `${dir}/b/${name}.tar`);
    }
    const [blob = "", ...otherBlobs] = named.blobs;

    await t.step("loaded elsewhere, an image whose layer names its home reports why it cannot start", async () => {
      assert.deepEqual(await layersOf(other, images.named), diffIds.named);
      const home = `Cannot find the blobs of the image: registry ${first.host}/app: `;
      await first.goDown();
      assert.match(await refused(other, images.named), new RegExp(`${home}Cannot read blob \\w{64} .*refused`));
      await first.comeBack();
      const loginHint = `\\(hint: docker login ${first.host}\\)`;
      assert.match(
        await refused(other, images.named),
        new RegExp(`${home}.*it requires user and password.*${loginHint}`),
      );
      await login(other, first.host, "wrong");
      assert.match(await refused(other, images.named), new RegExp(`${home}.*does not accept user.*${loginHint}`));
      await login(other, first.host, PASSWORD);
      const bytes = first.replaceBlob(blob, undefined);
      assert.match(await refused(other, images.named), new RegExp(`${home}Cannot read blob ${blob} .*HTTP 404`));
      first.replaceBlob(blob, bytes);
    });

    await t.step("it starts lazily once the home is reachable, without a restart, as does a commit of it", async () => {
      await starts(other, images.named);
      await starts(other, "committed");
      assert.ok(first.count("GET", `/v2/app/blobs/sha256:${blob}`) > 0);
      assert.equal(
        await run(other, "committed", "/bin/cat", "/copied"),
        (await Deno.readTextFile("/etc/hostname")).trim(),
      );
    });

    await t.step("pulled from the registry that it was pushed to, it finds its blobs in the first", async () => {
      await other.docker("rmi", images.named, "committed");
      await other.docker("pull", "--quiet", `${second.host}/copy:named`);
      assert.deepEqual(await layersOf(other, `${second.host}/copy:named`), diffIds.named);
      await starts(other, `${second.host}/copy:named`);
    });

    await t.step("a home on this machine that only the image names is not used", async () => {
      const message = await refused(other, images.astray);
      assert.match(message, new RegExp(`registry ${second.host}/app: .*an image may not lead there: ${second.host}`));
      assert.match(message, /hint: .*fetch\.trusted_origins/);
    });

    await t.step("an image without a home reports that, or what the registry of its pull lacks", async () => {
      assert.match(
        await refused(other, images.plain),
        new RegExp(`no backend is known that has ${blob} and 2 more.*hint: set`),
      );
      await other.docker("rmi", images.plain);
      const copy = `${second.host}/copy:plain`;
      await other.docker("pull", "--quiet", copy);
      assert.match(
        await refused(other, copy),
        new RegExp(`registry ${second.host}/copy: Cannot read blob \\w{64} .*404`),
      );
      const client = new RegistryClient(`http://${second.host}`, "copy");
      for (const id of otherBlobs) await client.pushBlob(await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`));
      assert.match(
        await refused(other, copy),
        new RegExp(`registry ${second.host}/copy: Cannot read blob ${blob} .*404`),
      );
      await client.pushBlob(await Deno.readFile(`${RAFS_FIXTURES}/blobs/${blob}`));
      await starts(other, copy);
    });

    await t.step("the configured registry is used as well, with its own login", async () => {
      const auth = btoa(`${USER}:${PASSWORD}`);
      const backend = { type: "registry", config: { scheme: "http", host: first.host, repo: "app", auth } };
      await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify({ mode: "direct", device: { backend } }));
      await using configured = await startStack(`${dir}/c`, dockerd, { config: `${dir}/config.json` });
      for (const name of ["named", "plain", "astray"] as const) {
        await Deno.rename(`${dir}/b/${name}.tar`, `${dir}/c/${name}.tar`);
        await configured.docker("load", "--quiet", "--input", `${dir}/c/${name}.tar`);
        await starts(configured, images[name]);
      }
      if (dockerd === DOCKER_26) await buildsFromFile(configured, images.named);
    });
  });
});

/** BuildKit combines a lazy image from a bootstrap file, with busybox of another image on top. */
async function buildsFromFile(stack: DockerStack, image: string): Promise<void> {
  const context = `${stack.dir}/context`;
  await Deno.mkdir(context);
  await Deno.writeFile(`${context}/image.boot`, await readFixtureBootstrap(fixtureOf(LAZY)));
  const lines = ["FROM scratch", "COPY image.boot /image/image.boot", `COPY --from=${image} /bin /bin`];
  await Deno.writeTextFile(`${context}/Dockerfile`, lines.join("\n"));
  await stack.daemon.must(["build", "--tag", "made", ...NO_NETWORK, context], { env: { DOCKER_BUILDKIT: "1" } });
  await starts(stack, "made");
}

/** A second dockerd with its own data and driver. `dir` is short: paths of sockets are limited to 107 bytes. */
async function startStack(
  dir: string,
  dockerd: Dockerd,
  { trustedOrigins, config }: { trustedOrigins?: string; config?: string },
): Promise<DockerStack> {
  await Deno.mkdir(dir);
  const env = {
    NYDUS_GD_FETCH_RETRIES: "0",
    ...(trustedOrigins === undefined ? {} : { NYDUS_GD_FETCH_TRUSTED_ORIGINS: trustedOrigins }),
  };
  return await DockerStack.start(dir, env, { dockerd, ...(config === undefined ? {} : { config }) });
}

/** A login in the form that `docker login` writes. */
async function login(stack: DockerStack, host: string, password: string): Promise<void> {
  const auths = { [host]: { auth: btoa(`${USER}:${password}`) } };
  await Deno.writeTextFile(`${stack.dir}/client/config.json`, JSON.stringify({ auths }));
}

async function layersOf(stack: DockerStack, image: string): Promise<string[]> {
  return JSON.parse(await stack.docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image));
}

function run(stack: DockerStack, image: string, ...command: string[]): Promise<string> {
  return stack.docker("run", "--rm", ...NO_NETWORK, image, ...command);
}

/** Asserts that a container of the image reads a file of each blob. */
async function starts(stack: DockerStack, image: string): Promise<void> {
  const listing = readListing(fixtureOf(LAZY).listing);
  const expected = FILES.map((path) => listing.find((entry) => entry.path === path)?.sha256);
  const lines = (await run(stack, image, "/bin/sha256sum", ...FILES)).split("\n");
  assert.deepEqual(lines.map((line) => line.split(" ")[0]), expected, image);
}

/** Asserts that no container can be created and nothing of it is left; returns the error message. */
async function refused(stack: DockerStack, image: string): Promise<string> {
  const before = await stack.layers();
  const { code, stdout, stderr } = await stack.daemon.docker(["create", ...NO_NETWORK, image, "/bin/sh"]);
  assert.notEqual(code, 0, `a container of ${image} was made: ${stdout}`);
  assert.deepEqual(await stack.layers(), before);
  return stderr.trim();
}
