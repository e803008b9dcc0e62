/**
 * Conversions into a real registry: what is pushed, what is reused, and what is reported.
 *
 * @module
 */
import assert from "node:assert/strict";
import { commandLine, run, Server } from "../support/process/command.ts";
import { noise } from "../support/image/convert_kit.ts";
import { DockerRegistry, dockerRegistryMissing } from "../support/backend/docker_registry.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import { ImagePusher, PLATFORM, type PushedManifest } from "../support/image/nydus_images.ts";
import { PushRecorder } from "../support/backend/push_recorder.ts";
import { RegistryClient } from "../support/backend/registry_client.ts";
import { file, tarOf, whiteout } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";

if (dockerRegistryMissing !== undefined) console.log(`skipped, conversions to a registry: ${dockerRegistryMissing}`);

function registryTest(name: string, fn: (registry: DockerRegistry, temp: TempDir) => Promise<void>): void {
  Deno.test({
    name,
    ignore: dockerRegistryMissing !== undefined,
    fn: async () => {
      using temp = TempDir.make();
      await using registry = await DockerRegistry.start();
      await fn(registry, temp);
    },
  });
}

const LAYERS = [1, 2, 3].map((seed) => ({ tar: tarOf(file(`f${seed}`, noise(200_000, seed))) }));

interface Described {
  readonly digest: string;
  readonly artifactType?: string;
  readonly annotations?: Record<string, string>;
  readonly platform?: unknown;
}

interface Listed {
  readonly manifests: readonly Described[];
  readonly annotations?: Record<string, string>;
}

const TYPES = ["image.index", "image.manifest"].map((kind) => `application/vnd.oci.${kind}.v1+json`).join(", ");

/** The manifest that a registry has under a name, or undefined. */
async function manifestAt<T = Listed>(host: string, repository: string, name: string): Promise<T | undefined> {
  const url = `http://${host}/v2/${repository}/manifests/${name}`;
  const response = await fetch(url, { headers: { accept: TYPES } });
  const text = await response.text();
  if (response.status === 404) return undefined;
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as T;
}

/** For each blob whether it existed already. */
function reused(stdout: string): boolean[] {
  const { platforms } = JSON.parse(stdout) as { platforms: { blobs: { reused: boolean }[] }[] };
  return platforms.flatMap(({ blobs }) => blobs.map((blob) => blob.reused));
}

registryTest("a killed conversion continues with the first blob that is missing", async (registry, temp) => {
  await using recorder = new PushRecorder(registry.host);
  await writeLayout(temp.join("source"), { layers: LAYERS });
  for (const [repository, hasRecords] of [["with", true], ["without", false]] as const) {
    const target = `${recorder.host}/${repository}:1`;
    const work = temp.join(repository);
    const args = ["convert", `oci:${temp.join("source")}:1`, target, "--work-dir", work, "-o", "json"];
    recorder.uploaded.length = 0;
    const held = recorder.holdAfter(1);
    const [program, ...words] = commandLine(args);
    const child = new Deno.Command(program, { args: words, stdin: "null", stdout: "null", stderr: "null" }).spawn();
    await held;
    child.kill("SIGKILL");
    await child.status;
    recorder.release();
    assert.equal(recorder.uploaded.length, 1);
    assert.equal(await manifestAt(registry.host, repository, "1"), undefined);
    assert.equal([...Deno.readDirSync(`${work}/partial`)].length, 1);

    if (!hasRecords) await Deno.remove(`${work}/layers`, { recursive: true });
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 0, stderr);
    assert.deepEqual(reused(stdout), [hasRecords, false, false]);
    assert.equal(new Set(recorder.uploaded).size, recorder.uploaded.length, "a blob was uploaded twice");
    assert.deepEqual([...Deno.readDirSync(`${work}/partial`)], [], "the killed conversion left files");
    assert.equal((await run(["check", "--blobs", target])).code, 0);
  }
});

Deno.test({
  name: "a conversion outlasts a restart of its registry, and tells that it waits",
  ignore: dockerRegistryMissing !== undefined,
  fn: async () => {
    using temp = TempDir.make();
    const storage = temp.join("storage");
    await writeLayout(temp.join("source"), { layers: LAYERS });
    const first = await DockerRegistry.start({ storage });
    const { host, port } = first;
    await using recorder = new PushRecorder(host);
    const held = recorder.holdAfter(1);
    const target = `${recorder.host}/app:1`;
    const args = ["convert", `oci:${temp.join("source")}:1`, target, "--work-dir", temp.join("work")];
    const waiting = Server.start(args, /a server is away/, { env: { NYDUS_GD_FETCH_RETRIES: "0" } });
    await held;
    await first[Symbol.asyncDispose]();
    recorder.release();
    await using conversion = await waiting;
    await using _registry = await DockerRegistry.start({ storage, port });
    assert.equal((await conversion.process.status).code, 0);
    assert.equal((await run(["check", "--blobs", target])).code, 0);
  },
});

registryTest("the registry mounts blobs of another repository, converted and original ones", async (registry, temp) => {
  await using recorder = new PushRecorder(registry.host);
  await writeLayout(temp.join("source"), { layers: LAYERS });
  const work = ["--work-dir", temp.join("work"), "-o", "json"];
  const made = await run(["convert", `oci:${temp.join("source")}:1`, `${recorder.host}/one:1`, "--with-oci", ...work]);
  assert.equal(made.code, 0, made.stderr);
  assert.deepEqual(recorder.mounted, []);
  const before = new Set(recorder.uploaded);
  recorder.uploaded.length = 0;

  const again = await run(["convert", `${recorder.host}/one:1`, `${recorder.host}/two:1`, "--with-oci", ...work]);
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(reused(again.stdout), [true, true, true]);
  assert.equal(new Set(recorder.mounted).size, 2 * LAYERS.length + 1, "layers, the configuration, data blobs");
  assert.ok(recorder.mounted.every((digest) => before.has(digest)));
  assert.ok(recorder.uploaded.every((digest) => !recorder.mounted.includes(digest)));
  assert.equal((await run(["check", "--blobs", `${recorder.host}/two:1`])).code, 0);
});

registryTest("an image that refers to layers has none of their data uploaded", async (registry, temp) => {
  await using recorder = new PushRecorder(registry.host);
  const pusher = new ImagePusher(new RegistryClient(registry.url, "app"));
  await pusher.classic(LAYERS.map(({ tar }) => tar), { tag: "1" });
  const { layers } = await manifestAt<{ layers: Described[] }>(registry.host, "app", "1") ?? { layers: [] };
  const originals = layers.map(({ digest }) => digest);
  const source = `${recorder.host}/app:1`;
  const convert = async (target: string) => {
    recorder.uploaded.length = recorder.mounted.length = 0;
    const { code, stdout, stderr } = await run(
      ["convert", "--oci-ref", source, target, "--work-dir", temp.join("work"), "-o", "json"],
    );
    assert.equal(code, 0, stderr);
    assert.deepEqual(originals.filter((digest) => recorder.uploaded.includes(digest)), []);
    assert.equal((await run(["check", "--blobs", target, "--against", source])).code, 0);
    return reused(stdout);
  };
  assert.deepEqual(await convert(`${recorder.host}/app:lazy`), [false, false, false]);
  assert.deepEqual(recorder.mounted, []);
  assert.deepEqual(await convert(`${recorder.host}/other:lazy`), [true, true, true]);
  assert.deepEqual(originals.filter((digest) => !recorder.mounted.includes(digest)), []);

  const index = await manifestAt(registry.host, "other", "lazy");
  const [small, full] = index?.manifests ?? [];
  const listed = async (entry: Described | undefined) =>
    (await manifestAt<{ layers: Described[] }>(registry.host, "other", entry?.digest ?? ""))?.layers ?? [];
  assert.equal((await listed(small)).length, 1);
  const names = (await listed(full)).map(({ digest }) => digest);
  assert.deepEqual(originals.filter((digest) => !names.includes(digest)), [], "a registry may remove them");
});

registryTest(
  "layers that go to another registry with an image that refers to them are read once",
  async (registry, temp) => {
    await using source = new PushRecorder(registry.host);
    await using other = await DockerRegistry.start();
    await using target = new PushRecorder(other.host);
    const pusher = new ImagePusher(new RegistryClient(registry.url, "app"));
    await pusher.classic([...LAYERS.map(({ tar }) => tar), tarOf(whiteout("f1"))], { tag: "1" });
    const { layers } = await manifestAt<{ layers: Described[] }>(registry.host, "app", "1") ?? { layers: [] };
    const digests = layers.map(({ digest }) => digest);
    const [from, to] = [`${source.host}/app:1`, `${target.host}/app:lazy`];
    const { code, stderr } = await run([
      "convert",
      "--oci-ref",
      from,
      to,
      "--work-dir",
      temp.join("work"),
      "-o",
      "json",
    ]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(digests.map((digest) => source.downloaded.filter((each) => each === digest).length), [1, 1, 1, 1]);
    const uploads = digests.map((digest) => target.uploaded.filter((each) => each === digest).length);
    assert.deepEqual(uploads, [1, 1, 1, 0], "a layer without data is not needed");
    assert.equal((await run(["check", "--blobs", to, "--against", from])).code, 0);
    assert.deepEqual([...Deno.readDirSync(temp.join("work/partial"))], []);
  },
);

registryTest(
  "a layer is mounted from where it is in the registry, although another has got it since",
  async (registry, temp) => {
    await using recorder = new PushRecorder(registry.host);
    await using other = await DockerRegistry.start();
    await writeLayout(temp.join("source"), { layers: LAYERS });
    const convert = async (target: string) => {
      const work = ["--work-dir", temp.join("work"), "-o", "json"];
      const { code, stdout, stderr } = await run(["convert", `oci:${temp.join("source")}:1`, target, ...work]);
      assert.equal(code, 0, stderr);
      return reused(stdout);
    };
    assert.deepEqual(await convert(`${recorder.host}/one:1`), [false, false, false]);
    assert.deepEqual(await convert(`${other.host}/one:1`), [false, false, false]);
    assert.deepEqual(await convert(`${recorder.host}/two:1`), [true, true, true]);
    assert.equal(recorder.mounted.length, LAYERS.length);
  },
);

registryTest("referrers of the original are copied with it, and listed under their tag", async (registry, temp) => {
  const from = new RegistryClient(registry.url, "from");
  const pusher = new ImagePusher(from);
  const image = await pusher.classic([tarOf(file("a", "1"))]);
  const refer = async (subject: PushedManifest, artifactType: string, text: string): Promise<PushedManifest> => {
    const empty = await from.pushBlob(new TextEncoder().encode("{}"));
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const document = {
      ...{ schemaVersion: 2, mediaType, artifactType, subject },
      config: { mediaType: "application/vnd.oci.empty.v1+json", ...empty },
      layers: [{ mediaType: "text/plain", ...await from.pushBlob(new TextEncoder().encode(text)) }],
      annotations: { "org.example.note": text },
    };
    const pushed = { ...await from.pushManifest("referrer", mediaType, document), mediaType };
    const tag = subject.digest.replace(":", "-");
    const listed = (await manifestAt(registry.host, "from", tag))?.manifests ?? [];
    await pusher.index(tag, [...listed, { ...pushed, artifactType }]);
    return pushed;
  };
  const signature = await refer(image, "application/x-signature", "signed");
  const inventory = await refer(image, "application/x-inventory", "one file");
  await refer(inventory, "application/x-signature", "signed, too");
  await from.pushManifest("1", "application/vnd.oci.image.index.v1+json", {
    ...{ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json" },
    manifests: [{ ...image, platform: PLATFORM }],
    annotations: { "org.example.index": "kept" },
  });
  const convert = async (target: string, ...flags: string[]) => {
    const args = ["convert", `${registry.host}/from:1`, `${registry.host}/${target}`, "--work-dir", temp.join("work")];
    const { code, stderr } = await run([...args, ...flags]);
    assert.equal(code, 0, stderr);
  };
  const tagOf = ({ digest }: PushedManifest) => digest.replace(":", "-");

  for (let time = 0; time < 2; time++) {
    await convert("kept:1", "--with-oci");
    const index = await manifestAt(registry.host, "kept", "1");
    assert.deepEqual([index?.manifests.length, index?.manifests[0]?.digest], [3, image.digest]);
    assert.deepEqual(index?.annotations, { "org.example.index": "kept" });
    const listed = (await manifestAt(registry.host, "kept", tagOf(image)))?.manifests ?? [];
    assert.deepEqual(listed.map(({ digest, artifactType, annotations }) => [digest, artifactType, annotations]), [
      [signature.digest, "application/x-signature", { "org.example.note": "signed" }],
      [inventory.digest, "application/x-inventory", { "org.example.note": "one file" }],
    ]);
    assert.equal((await manifestAt(registry.host, "kept", tagOf(inventory)))?.manifests.length, 1);
    assert.notEqual(await manifestAt<object>(registry.host, "kept", signature.digest), undefined);
  }
  await convert("lazy:1");
  assert.equal(await manifestAt(registry.host, "lazy", tagOf(image)), undefined);
});

registryTest(
  "an image with a subject keeps it, and is listed in the registry's referrers",
  async (registry, temp) => {
    const subject = await new ImagePusher(new RegistryClient(registry.url, "from")).classic([
      tarOf(file("plain", "1")),
    ]);
    await writeLayout(temp.join("source"), { layers: LAYERS, subject });
    const target = `${registry.host}/lazy:1`;
    const { code, stderr } = await run(["convert", `oci:${temp.join("source")}:1`, target, "--work-dir", temp.path]);
    assert.equal(code, 0, stderr);
    const converted = (await manifestAt(registry.host, "lazy", "1"))?.manifests.map(({ digest }) => digest);
    const listed = await manifestAt(registry.host, "lazy", subject.digest.replace(":", "-"));
    assert.deepEqual(listed?.manifests.map(({ digest }) => digest), converted);
  },
);

registryTest(
  "progress is shown per layer, and the bootstrap layer names the home of the blobs",
  async (registry, temp) => {
    await writeLayout(temp.join("source"), { layers: LAYERS });
    const target = `${registry.host}/team/app:1`;
    const convert = () => run(["convert", `oci:${temp.join("source")}:1`, target, "--work-dir", temp.join("work")]);
    const first = await convert();
    assert.equal(first.code, 0, first.stderr);
    const size = String.raw`[\d.]+ kB`;
    const layer = (number: number, became: string) =>
      String.raw`linux/amd64  layer ${number}/3, sha256:\w+, ${size}\n  ${became}: blob sha256:\w{64}, ${size}\n`;
    const lines = (became: string) =>
      new RegExp(`^${[1, 2, 3].map((k) => layer(k, became)).join("")}linux/amd64  bootstrap of ${size}\n$`);
    assert.match(first.stderr, lines("converted"));
    assert.match((await convert()).stderr, lines("was there"));

    const [small, full] = (await manifestAt(registry.host, "team/app", "1"))?.manifests ?? [];
    interface Layers {
      readonly layers: readonly { readonly digest: string; readonly size: number }[];
    }
    const layersOf = async ({ digest = "" } = {}) =>
      (await manifestAt<Layers>(registry.host, "team/app", digest))?.layers ?? [];
    const [bootstrap] = await layersOf(small);
    const response = await fetch(`${registry.url}/v2/team/app/blobs/${bootstrap?.digest}`);
    await Deno.writeFile(temp.join("bootstrap.tar.gz"), await response.bytes());
    const args = ["-xzOf", temp.join("bootstrap.tar.gz"), "image/nydus-gd.json"];
    const { stdout } = await new Deno.Command("tar", { args }).output();
    assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), {
      version: 1,
      registry: registry.host,
      repository: "team/app",
      blobs: (await layersOf(full)).slice(0, -1).map(({ digest, size }) => ({ digest, size })),
    });
  },
);
