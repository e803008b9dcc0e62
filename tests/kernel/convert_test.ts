/**
 * `nydus-gd convert` as a program: its output is mounted and compared with the source.
 *
 * @module
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { DockerRegistry, dockerRegistryMissing, TEST_USER } from "../support/backend/docker_registry.ts";
import { commandLine, fails, inNamespace, run, Server } from "../support/process/command.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { makeSampleTree } from "../support/archive/sample_tree.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import { dir, file, opaque, tarOf, whiteout } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { listTree, walkInChild } from "../support/mount/tree_walk.ts";

if (dockerRegistryMissing !== undefined) console.log(`skipped, conversions to a registry: ${dockerRegistryMissing}`);

async function mountedTree(image: string, temp: TempDir, env: Record<string, string> = {}) {
  const at = temp.join("mounted");
  Deno.mkdirSync(at, { recursive: true });
  const args = ["mount", image, at, "--cache-dir", temp.join(`cache-${crypto.randomUUID()}`)];
  await using _server = await Server.start(args, /^mounted /, { env });
  return await walkInChild(at, AbortSignal.timeout(60_000));
}

fuseTest("a folder becomes an image that equals it in every byte and attribute, with any options", async () => {
  using temp = TempDir.make();
  makeSampleTree(temp.join("tree"));
  const expected = listTree(temp.join("tree"));
  const options = [
    [],
    ["--fs-version", "5", "--compressor", "lz4_block", "--digester", "blake3"],
    ["--compressor", "none", "--chunk-size", "4KiB"],
    ["--compressor", "lz4_block", "--chunk-size", "16MiB", "--batch-size", "128KiB"],
    ["--level", "9", "--chunk-size", "64KiB", "--batch-size", "0"],
  ];
  for (const [k, flags] of options.entries()) {
    const image = `oci:${temp.join(`image-${k}`)}:1`;
    const args = [
      "convert",
      `dir:${temp.join("tree")}`,
      image,
      "--work-dir",
      temp.join("work"),
      "-o",
      "json",
      ...flags,
    ];
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stderr], [0, ""]);
    const { platforms } = JSON.parse(stdout) as { platforms: { blobs: { size: number }[] }[] };
    assert.deepEqual(platforms.map(({ blobs }) => blobs.length), [1]);
    assert.deepEqual(await mountedTree(image, temp), expected, flags.join(" "));
  }
});

fuseTest("an image is pushed with a login, and its layers are reused for the next one", async () => {
  if (dockerRegistryMissing !== undefined) return;
  using temp = TempDir.make();
  await using registry = await DockerRegistry.start({ basicAuth: true });
  const login = { auths: { [registry.host]: { auth: btoa(`${TEST_USER.user}:${TEST_USER.password}`) } } };
  await Deno.mkdir(temp.join("docker"));
  await Deno.writeTextFile(temp.join("docker/config.json"), JSON.stringify(login));
  const env = { DOCKER_CONFIG: temp.join("docker") };
  const base = { tar: tarOf(dir("d"), file("d/gone", "1"), file("d/kept", "x".repeat(500_000))) };
  const source = `oci:${temp.join("source")}:1`;
  const convert = (target: string, ...more: string[]) =>
    run(["convert", source, target, "--work-dir", temp.join("work"), "-o", "json", ...more], { env });
  const reused = (stdout: string) =>
    (JSON.parse(stdout) as { platforms: { blobs: { reused: boolean }[] }[] }).platforms.flatMap(({ blobs }) =>
      blobs.map((blob) => blob.reused)
    );

  await writeLayout(temp.join("source"), { layers: [base, { tar: tarOf(whiteout("d/gone"), file("top", "2")) }] });
  const first = `${registry.host}/team/app:1`;
  const made = await convert(first);
  assert.deepEqual([made.code, reused(made.stdout)], [0, [false, false]], made.stderr);
  const paths = async (image: string) => (await mountedTree(image, temp, env)).map(({ path }) => path);
  assert.deepEqual(await paths(first), ["/", "/d", "/d/kept", "/top"]);

  // another repository of the registry reuses the layer, and a different top layer is converted
  await writeLayout(temp.join("source"), { layers: [base, { tar: tarOf(opaque("d"), file("d/own", "3")) }] });
  const second = await convert(`${registry.host}/other/app:1`, "--with-oci");
  assert.deepEqual([second.code, reused(second.stdout)], [0, [true, false]], second.stderr);
  assert.deepEqual(await paths(`${registry.host}/other/app:1`), ["/", "/d", "/d/own"]);

  // an image of the registry can be a source as well, but is not overwritten without --force
  const again = [
    "convert",
    `${registry.host}/other/app:1`,
    `${registry.host}/other/app:1`,
    "--work-dir",
    temp.join("w2"),
  ];
  await fails(again, /it is the name of the source, which would be overwritten$/, /--force$/, { env });
  const forced = await run([...again, "--force", "-o", "json"], { env });
  assert.deepEqual([forced.code, reused(forced.stdout)], [0, [true, true]], forced.stderr);
  assert.deepEqual(await paths(`${registry.host}/other/app:1`), ["/", "/d", "/d/own"]);

  await fails(
    ["convert", source, `${registry.host}/team/app:1`, "--work-dir", temp.join("w3")],
    /refused|unauthorized|HTTP 401/,
    /^hint: docker login /,
    { env: { DOCKER_CONFIG: temp.join("nobody") } },
  );
  assert.deepEqual(await paths(first), ["/", "/d", "/d/kept", "/top"]);
});

const noise = (length: number) => new Uint8Array(randomBytes(length));

fuseTest("a full disk is reported with its folder, and the target's name stays unchanged", async () => {
  using temp = TempDir.make();
  const [tree, small] = [temp.join("tree"), temp.join("small")];
  await Deno.mkdir(tree);
  await Deno.mkdir(small);
  for (let k = 0; k < 64; k++) await Deno.writeFile(`${tree}/${k}`, noise(65_536));
  const within = inNamespace(`mount -t tmpfs -o size=2m none ${small}`);
  const args = ["convert", `dir:${tree}`, `oci:${small}/image:1`, "--work-dir", temp.join("work"), "-o", "json"];
  await fails(
    args,
    /^nydus-gd: cannot convert folder .*: the disk of .*\.part is full$/,
    /^hint: free some space there/,
    { within },
  );
});

fuseTest("a full scratch folder is not reported as a fault of the image", async () => {
  using temp = TempDir.make();
  const [tree, small] = [temp.join("tree"), temp.join("small")];
  await Deno.mkdir(tree);
  await Deno.mkdir(small);
  await Deno.writeFile(`${tree}/file`, noise(4096));
  const image = `oci:${temp.join("image")}:1`;
  assert.equal((await run(["convert", `dir:${tree}`, image, "--work-dir", temp.join("work")])).code, 0);
  const fill = `mount -t tmpfs -o size=64k none ${small}; head -c 1M /dev/zero 2>/dev/null >${small}/fill || true`;
  const options = { within: inNamespace(fill), env: { TMPDIR: small } };
  for (const args of [["check", image], ["unpack", image, `tar:${temp.join("files.tar")}`]]) {
    await fails(args, /^nydus-gd: cannot .*: the disk of .* is full$/, /^hint: free some space there/, options);
  }
});

fuseTest(
  "a scratch folder without room for the data of an image is named, with the variable that moves it",
  async () => {
    using temp = TempDir.make();
    const [tree, small] = [temp.join("tree"), temp.join("small")];
    await Deno.mkdir(tree);
    await Deno.mkdir(small);
    await Deno.writeFile(`${tree}/file`, noise(8 << 20));
    const image = `oci:${temp.join("image")}:1`;
    assert.equal((await run(["convert", `dir:${tree}`, image, "--work-dir", temp.join("work")])).code, 0);
    const options = { within: inNamespace(`mount -t tmpfs -o size=2m none ${small}`), env: { TMPDIR: small } };
    const sentence = /^nydus-gd: cannot read chunk \d+ of blob .*: the disk of the cache is full$/;
    const folder = `file system of ${small}/nydus-gd-scratch-`;
    const args = ["unpack", image, `tar:${temp.join("files.tar")}`];
    await fails(args, sentence, new RegExp(`^hint: check the free space .*${folder}.*, or set TMPDIR$`), options);
  },
);

fuseTest("an interrupt ends the wait for patterns from a pipe", async () => {
  using temp = TempDir.make();
  const pipe = temp.join("patterns");
  await new Deno.Command("mkfifo", { args: [pipe] }).output();
  const args = ["convert", "--prefetch-patterns", pipe, `dir:${temp.path}`, `oci:${temp.path}-none`];
  const [program, ...words] = commandLine(args);
  const child = new Deno.Command(program, { args: words, stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  using _writer = await Deno.open(pipe, { write: true }); // once the command reads it
  child.kill("SIGINT");
  assert.equal(await new Response(child.stderr).text(), "nydus-gd: cannot finish: interrupted by SIGINT\n");
  assert.equal((await child.status).code, 130);
});

fuseTest("an interrupted conversion exits 130 and leaves no partial output; the next one is complete", async () => {
  using temp = TempDir.make();
  const tree = temp.join("tree");
  await Deno.mkdir(tree);
  for (let k = 0; k < 64; k++) await Deno.writeFile(`${tree}/${k}`, noise(1 << 20));
  const args = ["convert", `dir:${tree}`, `oci:${temp.join("image")}:1`, "--work-dir", temp.join("work")];
  const [program, ...words] = commandLine(args);
  const child = new Deno.Command(program, { args: words, stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  const reader = child.stderr.getReader();
  await reader.read(); // the line of the layer
  child.kill("SIGINT");
  while (!(await reader.read()).done);
  assert.equal((await child.status).code, 130);
  const left = (dir: string) => [...Deno.readDirSync(temp.join(dir))].map(({ name }) => name);
  assert.deepEqual(left(".").filter((name) => name.startsWith("image")), []);
  assert.equal((await run(args)).code, 0);
  assert.deepEqual(left("image").sort(), ["blobs", "index.json", "oci-layout"]);
  const names = (list: readonly { readonly path: string }[]) => list.map(({ path }) => path);
  assert.deepEqual(names(await mountedTree(`oci:${temp.join("image")}:1`, temp)), names(listTree(tree)));
});

Deno.test("an image of either version is converted again by a program that finds all its layers converted", async () => {
  using temp = TempDir.make();
  await writeLayout(temp.join("source"), { layers: [{ tar: tarOf(file("a", "a")) }] });
  for (const version of ["5", "6"]) {
    const names = [`oci:${temp.join("source")}`, `oci:${temp.join(version)}`];
    const args = ["convert", "--fs-version", version, "--work-dir", temp.join("work"), ...names];
    const outputs = [await run(args), await run(args)];
    assert.deepEqual(outputs.map(({ code }) => code), [0, 0], outputs.at(-1)?.stderr ?? "");
    assert.match(outputs[1]?.stderr ?? "", /was there: blob/);
  }
});
