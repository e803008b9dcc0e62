/**
 * `check`, `inspect` and `unpack` as used interactively: output, files written, exit status.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { commandLine, fails, run } from "../support/process/command.ts";
import { FixtureCopy } from "../support/damage/damage.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { storeLazy } from "../support/image/lazy_images.ts";
import { fixtureOf, RAFS_FIXTURES, storedListing } from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree } from "../support/mount/tree_walk.ts";
import { until } from "../support/until.ts";

const ignore = Deno.uid() !== 0;
if (ignore) console.log("skipped: not root");

const BLOBS = join(RAFS_FIXTURES, "blobs");
const bootstrapOf = (name: string) => fixtureOf(name).bootstrap;

Deno.test("check states what was checked, and exits 0", async () => {
  const plain = await run(["check", bootstrapOf("v6-layers-merged")]);
  assert.deepEqual([plain.code, plain.stderr], [0, ""]);
  assert.match(
    plain.stdout,
    /^remark: blobs were not checked: .*\nRAFS v6, 25 names, 25 inodes: nothing is wrong\n$/,
  );
  const whole = await run(["check", "--blobs", "--blob-dir", BLOBS, bootstrapOf("v5-layers-merged"), "-o", "json"]);
  assert.equal(whole.code, 0);
  const document = JSON.parse(whole.stdout);
  assert.deepEqual([document.version, document.finding_count, document.findings], [5, 0, []]);
  assert.ok(document.blobs.every((blob: { verified_chunks: number }) => blob.verified_chunks > 0));
});

Deno.test("check exits 3 with a line for each finding", async () => {
  using temp = TempDir.make();
  const copy = await FixtureCopy.of("v6-layers-merged");
  copy.blob(0)[0] = (copy.blob(0)[0] as number) ^ 1;
  copy.blobs.delete(copy.id(1));
  const { source, blobDir } = await copy.write(temp.path);
  const { code, stdout, stderr } = await run(["check", "--blobs", "--blob-dir", blobDir, source]);
  assert.deepEqual([code, stderr], [3, ""]);
  assert.match(stdout, new RegExp(`^chunk blob ${copy.id(0)}: chunk 0 \\(/.*\\): `, "m"));
  assert.match(stdout, new RegExp(`^blob blob ${copy.id(1)}: .*no file`, "m"));
  assert.match(stdout, /: \d+ findings?\n$/);
  const broken = copy.bootstrap.bytes.slice(0, 4096);
  await Deno.writeFile(temp.join("broken"), broken);
  const refused = await run(["check", "-o", "json", temp.join("broken")]);
  assert.equal(refused.code, 3);
  assert.equal(JSON.parse(refused.stdout).version, null);
});

Deno.test("check, inspect and unpack report missing input", async () => {
  using temp = TempDir.make();
  await fails(["check", "/no/such"], /no such file/, /./);
  await fails(
    ["check", "--blobs", bootstrapOf("v6-layers-merged")],
    /the location of its blobs is not given/,
    /--blob-dir/,
    {
      code: 2,
    },
  );
  await fails(
    ["unpack", bootstrapOf("v6-layers-merged"), temp.join("x")],
    /the location of its blobs is not given/,
    /--blob-dir/,
    { code: 2 },
  );
  await fails(["inspect", bootstrapOf("v6-layers-merged"), "/no/such"], /there is no \/no/, /inspect --depth/);
  await fails(["inspect", "oci:/no/such"], /there is no such folder/, /oci:DIR/);
  await fails(["inspect", "dir:/usr"], /a folder of files is not a nydus image/, /nydus-gd convert dir:\/usr TARGET/);
  const docker = ["--against", "docker:app:1", "--docker-host", "unix:///nowhere.sock"];
  await fails(
    ["check", bootstrapOf("v6-layers-merged"), "--blob-dir", BLOBS, ...docker],
    /there is no socket \/nowhere\.sock/,
    /./,
  );
  await fails(["check", "docker:app:1"], /from their registry, not from Docker/, /HOST\/NAME:TAG/);
  await fails(["inspect", "--depth", "x", "image"], /--depth/, /./, { code: 2 });
});

Deno.test("output that cannot be written is a failure that names the stream", async () => {
  const full = ["sh", "-c", 'exec "$@" >/dev/full', "sh"];
  const words = ["check", bootstrapOf("v6-layers-merged")];
  await fails(words, /cannot write to standard output: no space left on device$/, undefined, { within: full });
});

Deno.test(
  { name: "a path that is not UTF-8 is refused, and a new folder that cannot be used is removed", ignore },
  async () => {
    using temp = TempDir.make();
    const below = (last: string) => ["sh", "-c", `cd ${temp.path}; d=$(printf 'a\\377'); mkdir -p "$d"; ${last}`, "sh"];
    const [boot, blobs] = [bootstrapOf("v6-layers-merged"), BLOBS];
    await fails(["unpack", "--blob-dir", blobs, boot], /an argument is not UTF-8/, /symbolic link/, {
      code: 2,
      within: below('exec "$@" "$d/out"'),
    });
    const { code } = await run(["unpack", "--blob-dir", blobs, boot, "out"], { within: below('cd "$d"; exec "$@"') });
    assert.equal(code, 1);
    await run(["version"], { within: below('rmdir "$d"; exec "$@"') });
    assert.deepEqual([...Deno.readDirSync(temp.path)], []);
  },
);

Deno.test("inspect shows an image, and one of its files", async () => {
  const image = await run(["inspect", bootstrapOf("v6-zstd-batch")]);
  assert.equal(image.code, 0);
  assert.match(image.stdout, /^RAFS v6, bootstrap of /);
  assert.match(image.stdout, /^d.* \/names$/m);
  const file = JSON.parse((await run(["inspect", "-o", "json", bootstrapOf("v6-zstd-batch"), "data/multi"])).stdout);
  assert.equal(file.path, "/data/multi");
  assert.equal(file.chunks.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0), file.size);
});

Deno.test({ name: "an ordinary user reads a registry with that user's own login", ignore }, async () => {
  using temp = TempDir.make();
  const login = { user: "reader", password: "secret" };
  await using registry = await FakeRegistry.start({ auth: "basic", ...login });
  const { reference } = await storeLazy(registry, { tag: "private", made: "v6-layers-merged" });
  const auths = { [registry.host]: { auth: btoa(`${login.user}:${login.password}`) } };
  await Deno.mkdir(temp.join(".docker"));
  await Deno.writeTextFile(temp.join(".docker/config.json"), JSON.stringify({ auths }));
  const within = ["unshare", "--user", "--map-user=65534", "--map-group=65534"];
  const { code, stderr } = await run(["check", reference], { within, env: { HOME: temp.path, DOCKER_CONFIG: "" } });
  assert.deepEqual([code, stderr], [0, ""]);
  const settings = temp.join("settings.toml"), another = temp.join("of-another");
  await Deno.writeTextFile(settings, `[docker]\nconfig = "${another}"\n`);
  await Deno.mkdir(another);
  await Deno.writeTextFile(join(another, "config.json"), "{}", { mode: 0o600 });
  await Deno.chown(join(another, "config.json"), 1234, 1234);
  const words = ["check", reference, "--settings", settings];
  await fails(words, /config\.json: Permission denied/, /NYDUS_GD_DOCKER_CONFIG=FOLDER/, { within });
});

Deno.test(
  { name: "commands that read images follow the settings file, which a variable overrides", ignore },
  async () => {
    using temp = TempDir.make();
    const login = { user: "reader", password: "secret" };
    await using registry = await FakeRegistry.start({ auth: "basic", ...login });
    const { reference } = await storeLazy(registry, { tag: "private", made: "v6-layers-merged" });
    const auths = { [registry.host]: { auth: btoa(`${login.user}:${login.password}`) } };
    await Deno.mkdir(temp.join("logins"));
    await Deno.writeTextFile(temp.join("logins/config.json"), JSON.stringify({ auths }));
    const settings = temp.join("settings.toml");
    const commands = [
      ["check", reference],
      ["inspect", reference],
      ["unpack", reference, temp.join("rootfs")],
      ["mount", reference, temp.join("no-folder")],
      ["convert", reference, `oci:${temp.join("layout")}`, "--work-dir", temp.join("work")],
    ];
    await Deno.writeTextFile(settings, `[docker]\nconfig = "${temp.join("logins")}"\n`);
    for (const command of commands.slice(0, 3)) {
      const { code, stderr } = await run([...command, "--settings", settings]);
      assert.deepEqual([code, stderr], [0, ""], command.join(" "));
    }
    const env = { NYDUS_GD_DOCKER_CONFIG: temp.join("no-logins") };
    await fails(["check", reference, "--settings", settings], /it requires user and password/, /docker login/, { env });
    await Deno.writeTextFile(settings, "[fetch]\nretires = 3\n");
    for (const command of commands) {
      await fails([...command, "--settings", settings], /line 2: fetch\.retires is not known/, /settings\.toml/);
    }
  },
);

Deno.test(
  { name: "unpack writes an image of a registry to a folder, or as a tar to standard output", ignore },
  async () => {
    using temp = TempDir.make();
    await using registry = await FakeRegistry.start();
    const name = "v6-layers-merged";
    const { reference } = await storeLazy(registry, { tag: "whole", made: name });
    const unpacked = await run(["unpack", reference, temp.join("rootfs")]);
    assert.deepEqual([unpacked.code, unpacked.stderr], [0, ""]);
    assert.match(unpacked.stdout, /^unpacked 25 names, /);
    assert.deepEqual(listTree(temp.join("rootfs")), storedListing(fixtureOf(name)));
    await fails(["unpack", reference, temp.join("rootfs")], /it is not empty/, /new folder/);
    const [program, ...words] = commandLine(["unpack", reference, "-"], [
      "sh",
      "-c",
      `"$@" > ${temp.join("x.tar")}`,
      "sh",
    ]);
    const { success } = await new Deno.Command(program, { args: words }).output();
    assert.ok(success);
    const { stdout } = await new Deno.Command("tar", { args: ["tf", temp.join("x.tar")] }).output();
    assert.equal(new TextDecoder().decode(stdout).trimEnd().split("\n").length, 25);
  },
);

Deno.test({
  name: "an interrupted unpack cleans up and exits 130; a killed one leaves a marked folder",
  ignore,
}, async () => {
  for (const [signal, code] of [["SIGINT", 130], ["SIGKILL", 137]] as const) {
    using temp = TempDir.make();
    await using registry = await FakeRegistry.start();
    const { reference, blobs } = await storeLazy(registry, { tag: "stalled", made: "v5-layers-merged" });
    for (const id of blobs) registry.stalled.add(id);
    const target = temp.join("rootfs");
    const [program, ...words] = commandLine(["unpack", reference, target]);
    const child = new Deno.Command(program, { args: words, stdout: "null", stderr: "piped" }).spawn();
    await until(
      "a blob is asked for",
      () => blobs.some((id) => registry.count("GET", `/v2/app/blobs/sha256:${id}`) > 0),
    );
    const [begun = "", ...others] = names(target);
    assert.match(begun, /^\.nydus-gd-unpack-/);
    assert.deepEqual(others, []);
    child.kill(signal);
    const output = await child.output();
    assert.equal(output.code, code, new TextDecoder().decode(output.stderr));
    assert.deepEqual(names(temp.path), signal === "SIGINT" ? [] : ["rootfs"]);
    if (signal === "SIGKILL") assert.deepEqual(names(target), [begun]);
  }
});

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name);
