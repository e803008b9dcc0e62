/**
 * `nydus-gd pull` with real programs: dockerd gets images in every form in which they are pushed, and starts them
 * lazily.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { MEDIA_TYPE } from "../../lib/oci/media_types.ts";
import { pushAsBuildkit } from "../support/image/buildkit_image.ts";
import { DockerRegistry, TEST_USER } from "../support/backend/docker_registry.ts";
import { type DockerStack } from "../support/docker/docker_stack.ts";
import { eachDockerd } from "../support/docker/dockerds.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import {
  fixtureImage,
  ImagePusher,
  OTHER_PLATFORM,
  PLATFORM,
  runnableImage,
  runnableTree,
} from "../support/image/nydus_images.ts";
import { pull, pullJson, records } from "../support/docker/pull_command.ts";
import { fixtureOf, readListing } from "../support/rafs/rafs_fixtures.ts";
import { RegistryClient } from "../support/backend/registry_client.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { until } from "../support/until.ts";

const NO_NETWORK = ["--network", "none"];
const BASIC = { authorization: `Basic ${btoa(`${TEST_USER.user}:${TEST_USER.password}`)}` };

/** A folder for DOCKER_CONFIG that only `pull` sees. */
async function loginFolder(stack: DockerStack, name: string, hosts: Record<string, string>): Promise<string> {
  const folder = `${stack.dir}/${name}`;
  await Deno.mkdir(folder);
  const auths = Object.fromEntries(Object.entries(hosts).map(([host, login]) => [host, { auth: btoa(login) }]));
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ auths }));
  return folder;
}

function hello(stack: DockerStack, image: string): Promise<string> {
  return stack.docker("run", "--rm", ...NO_NETWORK, image);
}

/** Empties the cache and the choices of homes: a container that starts now must locate its blobs. */
async function restartCold(stack: DockerStack): Promise<void> {
  await stack.daemon[Symbol.asyncDispose]();
  await stack.driver[Symbol.asyncDispose]();
  await Deno.remove(`${stack.dir}/root/cache`, { recursive: true });
  await Deno.remove(`${stack.dir}/root/state/homes`, { recursive: true });
  await stack.restartDriver();
  await stack.restartDaemon();
}

/** Makes images be mounted again, and their homes be located again. */
async function forgetHomes(stack: DockerStack): Promise<void> {
  await stack.driver[Symbol.asyncDispose]();
  for await (const { name } of Deno.readDir(`${stack.dir}/root/state/homes`)) {
    await Deno.remove(`${stack.dir}/root/state/homes/${name}`);
  }
  await stack.restartDriver();
}

/** Compares a file of a pulled fixture with its listing, then removes the image. */
async function requireFile(stack: DockerStack, name: string, made: string, path: string, blobs: readonly string[]) {
  const container = await stack.docker("create", ...NO_NETWORK, name, "/x");
  await stack.docker("cp", `${container}:${path}`, `${stack.dir}/file`);
  const listed = readListing(fixtureOf(made).listing).find((entry) => entry.path === path);
  assert.equal(createHash("sha256").update(Deno.readFileSync(`${stack.dir}/file`)).digest("hex"), listed?.sha256);
  await stack.docker("rm", container);
  await stack.docker("rmi", name); // two of them describe one blob differently: one at a time
  const files = blobs.map((id) => `${stack.dir}/root/cache/${id}.blob.data`);
  await until("the image's data is removed from the cache", () => !files.some((file) => existsSync(file)));
}

/** Whether a line of the daemon's log reports a complete prefetch. */
function isPrefetched({ message, complete }: Record<string, unknown>): boolean {
  return message === "image prefetched" && complete === true;
}

eachDockerd(({ test }) => {
  test("a lazy image starts with a login known only to pull, also after a reboot, until rmi", async ({ stack }) => {
    await using first = await DockerRegistry.start({ basicAuth: true });
    await using second = await FakeRegistry.start({ auth: "bearer", user: "bob", password: "other" });
    const standard = new ImagePusher(new RegistryClient(first.url, "team/app", BASIC));
    await standard.standard(await runnableImage("from the first"), { tag: "1.0" });
    await ImagePusher.into(second).standard(await runnableImage("from the second"), { tag: "1.0" });
    const [one, two] = [`${first.host}/team/app:1.0`, `${second.host}/app:1.0`] as const;
    const login = { [first.host]: `${TEST_USER.user}:${TEST_USER.password}`, [second.host]: "bob:other" };
    const env = { DOCKER_CONFIG: await loginFolder(stack, "login", login) };

    const { code, stdout, stderr } = await pull(stack, [one], env);
    assert.equal(code, 0, stderr);
    const [here = "", fetched = "", left = "", ...more] = stdout.split("\n");
    assert.match(here, /^127\.0\.0\.1:\d+\/team\/app:1\.0 is available as image [0-9a-f]{12} and starts lazily$/);
    assert.match(fetched, /^fetched +\S+ k?B: the bootstrap$/);
    assert.match(left, /^left +\S+ [kM]B in 1 blob at registry .*\/team\/app, fetched on first access$/);
    assert.deepEqual(more, [""]);
    assert.match(
      stderr,
      /: a nydus image, manifest sha256:[0-9a-f]{64}\nbootstrap [0-9a-f]{12}: fetching\ndocker: load/,
    );
    const { lazy } = await pullJson(stack, [two], env);
    const blob = lazy?.blobs[0]?.id ?? "";
    assert.ok(!second.dataRequests.some(({ path }) => path.endsWith(`/blobs/sha256:${blob}`)));

    for (const path of await records(stack)) assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
    assert.equal((await records(stack)).length, 2);
    assert.equal(await hello(stack, one), "from the first");
    assert.equal(await hello(stack, two), "from the second");
    await restartCold(stack);
    assert.equal(await hello(stack, two), "from the second");
    assert.equal(await hello(stack, one), "from the first");

    await standard.bootstrapOnly(await runnableImage("by Docker"), [], { tag: "only" });
    await standard.classic([await runnableTree("whole")], { tag: "classic" });
    for (const [tag, output] of [["only", "by Docker"], ["classic", "whole"]] as const) {
      const { name } = await pullJson(stack, [`${first.host}/team/app:${tag}`], env);
      assert.equal(await hello(stack, name), output);
      await stack.docker("rmi", name);
    }

    await forgetHomes(stack);
    second.changePassword("changed");
    await assert.rejects(
      hello(stack, two),
      /with user and password from nydus-gd pull 127\.0\.0\.1:\d+\/app:1\.0 of \d{4}-.*docker login 127\.0\.0\.1:/,
    );
    await stack.docker("rmi", two);
    assert.equal((await records(stack)).length, 1);
    await stack.docker("rmi", one);
    assert.deepEqual(await records(stack), []);
  });

  test("every form in which nydus images are pushed is pulled under its name", async ({ stack, registry }, t) => {
    const client = new RegistryClient(`http://${registry.host}`, "app");
    const pusher = new ImagePusher(client);
    const lazy = await runnableImage("lazily");
    const classic = [await runnableTree("whole")];
    const name = (tag: string) => `${registry.host}/app:${tag}`;

    await t.step("an index with the ordinary image first", async () => {
      const nydus = await pusher.standard(lazy, { configType: MEDIA_TYPE.nydusConfig });
      const entries = [
        { ...await pusher.standard(lazy, { platform: OTHER_PLATFORM }), platform: OTHER_PLATFORM },
        { ...await pusher.classic(classic), platform: PLATFORM },
        { ...nydus, platform: PLATFORM, artifactType: MEDIA_TYPE.nydusManifest },
      ];
      await pusher.index("both", entries);
      const pulled = await pullJson(stack, [name("both")]);
      assert.deepEqual([pulled.form, pulled.digest, pulled.name], ["standard", nydus.digest, name("both")]);
      assert.equal(await hello(stack, name("both")), "lazily");
    });

    await t.step("a nydus image that refers to an ordinary one", async () => {
      const subject = await pusher.classic([...classic, tarOf(file("more", "x"))], { tag: "plain" });
      const nydus = await pusher.standard(lazy, { subject });
      await pusher.index(subject.digest.replace(":", "-"), [nydus]);
      const pulled = await pullJson(stack, [name("plain")]);
      assert.deepEqual([pulled.form, pulled.digest], ["standard", nydus.digest]);
      assert.equal(await hello(stack, name("plain")), "lazily");
    });

    await t.step("a bootstrap-only image is pulled by Docker itself", async () => {
      const above = [tarOf(file("added", "above"))];
      const only = await pusher.bootstrapOnly(lazy, above, { tag: "only", cmd: ["/bin/cat", "/hello", "/added"] });
      const pulled = await pullJson(stack, [name("only")]);
      assert.deepEqual([pulled.form, pulled.digest, pulled.lazy?.blobs.length], ["bootstrap-only", only.digest, 1]);
      assert.equal(await hello(stack, name("only")), "lazilyabove");
      const digests = await stack.docker("image", "inspect", "--format", "{{json .RepoDigests}}", name("only"));
      assert.deepEqual(JSON.parse(digests), [`${registry.host}/app@${only.digest}`]);
    });

    await t.step("a bootstrap-only image is pulled where Docker would choose the ordinary one beside it", async () => {
      const only = await pusher.bootstrapOnly(await runnableImage("second"), []);
      const first = { ...await pusher.classic(classic), platform: PLATFORM };
      await pusher.index("hidden", [first, { ...only, platform: PLATFORM }]);
      assert.equal((await pullJson(stack, [name("hidden")])).digest, only.digest);
      assert.equal(await hello(stack, name("hidden")), "second");
    });

    for (
      const [image, made, homes, path] of [
        ["v6-layers-merged", "three blobs", 3, "/keep/k1"],
        ["v6-zran", "data in the ordinary gzip layer", 2, "/lib/exact"],
        ["v6-tar-ref", "data in the ordinary tar layer", 2, "/lib/exact"],
        ["v6-zstd-encrypt-batch", "encrypted", 1, "/lib/exact"],
        ["v6-tarfs", "a plain tar", 1, "/lib/exact"],
      ] as const
    ) {
      await t.step(`an image that nydus-image made is pulled lazily: ${made}`, async () => {
        await pusher.standard(await fixtureImage(image), { tag: image });
        const { lazy: left } = await pullJson(stack, [name(image)]);
        assert.equal(left?.blobs.length, homes);
        await requireFile(stack, name(image), image, path, left?.blobs.map(({ id }) => id) ?? []);
      });
    }

    await t.step("an image that BuildKit exported is pulled lazily", async () => {
      const image = await pushAsBuildkit(client, "buildkit", lazy);
      const pulled = await pullJson(stack, [name("buildkit")]);
      assert.deepEqual([pulled.form, pulled.digest], ["standard", image.digest]);
      assert.equal(await hello(stack, name("buildkit")), "lazily");

      const made = "v6-layers-inline-merged";
      await pushAsBuildkit(client, "layers", await fixtureImage(made));
      const { lazy: left } = await pullJson(stack, [name("layers")]);
      assert.equal(left?.blobs.length, 3);
      await requireFile(stack, name("layers"), made, "/keep/k1", left?.blobs.map(({ id }) => id) ?? []);
    });

    await t.step("an ordinary image is pulled completely by Docker, without a scratch folder", async () => {
      await pusher.classic(classic, { tag: "classic" });
      const pulled = await pullJson(stack, [name("classic")], { TMPDIR: "/nowhere" });
      assert.deepEqual([pulled.form, pulled.lazy], ["classic", null]);
      assert.equal(await hello(stack, name("classic")), "whole");
    });

    await t.step("pulled by digest, the resulting name is printed", async () => {
      const { digest } = await pusher.standard(await runnableImage("by digest"));
      const pulled = await pullJson(stack, [`${registry.host}/app@${digest}`]);
      assert.equal(pulled.name, `${registry.host}/app:${digest.replace(":", "-")}`);
      assert.equal(await hello(stack, pulled.name), "by digest");
      const only = await pusher.bootstrapOnly(await runnableImage("only, by digest"), []);
      assert.equal((await pullJson(stack, [`${registry.host}/app@${only.digest}`])).form, "bootstrap-only");
      assert.equal(await hello(stack, `${registry.host}/app@${only.digest}`), "only, by digest");
    });

    await t.step("a moved tag yields the new image", async () => {
      await pusher.standard(await runnableImage("old"), { tag: "moving" });
      const before = await pullJson(stack, [name("moving")]);
      assert.deepEqual(await pullJson(stack, [name("moving")]), before);
      await pusher.standard(await runnableImage("new"), { tag: "moving" });
      assert.equal((await pullJson(stack, [name("moving")])).replaced, before.image_id);
      assert.equal(await hello(stack, name("moving")), "new");
    });

    await t.step("the image of another platform is pulled with --platform", async () => {
      const other = `${OTHER_PLATFORM.os}/${OTHER_PLATFORM.architecture}`;
      const pulled = await pullJson(stack, ["--platform", other, name("both")]);
      assert.match(pulled.platform, new RegExp(`^${other}`));
      const architecture = await stack.docker("image", "inspect", "--format", "{{.Architecture}}", name("both"));
      assert.equal(architecture, OTHER_PLATFORM.architecture);
    });

    await t.step("with --prefetch everything is fetched, and -o jsonl reports each step", async () => {
      await pusher.standard(await runnableImage("complete"), { tag: "complete" });
      const { code, stdout } = await pull(stack, ["--prefetch", "-o", "jsonl", name("complete")]);
      assert.equal(code, 0);
      const events = stdout.trim().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual([...new Set(events.map(({ event }) => event))], ["resolved", "bootstrap", "load", "done"]);
      assert.equal(events.at(-1).lazy.prefetching, true);
      await until("the image is prefetched", async () => (await stack.serveLog()).some(isPrefetched));
    });
  });
});
