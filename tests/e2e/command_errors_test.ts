/**
 * Output of the command line when something is missing, wrong or in use: one line, a hint, an exit status.
 *
 * The program runs from source as a separate process, where necessary in a mount namespace that lacks something.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mountAt } from "../../ffi/mountinfo.ts";
import { readProcessFile } from "../../ffi/procfs.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { statePath } from "../../lib/image/mount/mount_state.ts";
import { hostPlatform } from "../../lib/oci/platform.ts";
import { fails, inNamespace, run, Server } from "../support/process/command.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { storeImage, storeLazy } from "../support/image/lazy_images.ts";
import { writeLayout } from "../support/image/layout_builder.ts";
import { fixtureOf, RAFS_FIXTURES, readListing } from "../support/rafs/rafs_fixtures.ts";
import { file as tarFile, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

const ignore = Deno.uid() !== 0;
if (ignore) console.log("skipped: not root");

/** A script that makes a library of any version unusable. */
const hideLibrary = (name: string) =>
  `for f in $(ldconfig -p | sed -n 's|.*=> \\(.*/${name}\\.so\\..*\\)|\\1|p'); do mount --bind /dev/null "$f"; done`;

/** Arguments of a `serve` in its own folder. */
function serveIn(temp: TempDir, ...more: string[]): string[] {
  return [
    "serve",
    ...["--root", temp.join("root"), "--socket", temp.join("s.sock"), "--admin-socket", temp.join("admin.sock")],
    ...more,
  ];
}

const SERVING = /serving/;

Deno.test({ name: "wrong usage exits 2", ignore }, async () => {
  await fails(["serve", "--rot", "/x"], /unknown option '--rot'/, /--root/, { code: 2 });
  await fails(["mount", "x"], /missing required argument 'dir'/, /nydus-gd mount --help/, { code: 2 });
});

Deno.test({ name: "gc of a folder that no daemon has used creates nothing there", ignore }, async () => {
  using temp = TempDir.make();
  const root = temp.join("nowhere"), socket = temp.join("admin.sock");
  const words = ["gc", "--root", root, "--admin-socket", socket];
  await fails([...words, "--dry-run"], /no daemon has its state/, /--root/);
  await fails(words, /no daemon has its state/, /--root/);
  await assert.rejects(Deno.stat(root), Deno.errors.NotFound);
});

Deno.test({
  name: "what is wrong with image.boot of a layer is said of that layer, not of a file in a temporary folder",
  ignore,
}, async () => {
  using temp = TempDir.make();
  const tar = tarOf(tarFile("image/image.boot", "rubbish ".repeat(1000)));
  await writeLayout(temp.join("image"), { architecture: hostPlatform().architecture, layers: [{ tar }] });
  const image = `oci:${temp.join("image")}:1`;
  const refusal = `find a bootstrap in image\\.boot of layer sha256:[0-9a-f]{64} of ${image}: it is neither`;
  const unpack = ["unpack", image, `tar:${temp.join("files.tar")}`];
  for (const args of [unpack, ["inspect", image]]) {
    await fails(args, new RegExp(`cannot ${refusal}`), /nydus-gd convert SOURCE TARGET/);
  }
  const checked = await run(["check", image]);
  assert.deepEqual([checked.code, checked.stderr], [3, ""]);
  assert.match(checked.stdout, new RegExp(refusal));
});

Deno.test({ name: "a second server of a root or of a socket is refused by name", ignore }, async () => {
  using temp = TempDir.make();
  using other = TempDir.make();
  await using first = await Server.start(serveIn(temp), SERVING);
  const admin = ["--admin-socket", other.join("admin.sock")];
  await fails(
    ["--log-level", "error", "serve", "--root", temp.join("root"), "--socket", other.join("s.sock"), ...admin],
    new RegExp(`cannot open root "${temp.join("root")}": another nydus-gd uses it`),
    /--root/,
  );
  await fails(
    ["--log-level", "error", "serve", "--root", other.join("root"), "--socket", temp.join("s.sock"), ...admin],
    new RegExp(`cannot listen on "${temp.join("s.sock")}": another process serves it`),
    /--socket/,
  );
  await first.kill();
  assert.ok((await Deno.lstat(temp.join("s.sock"))).isSocket, "a killed server leaves its socket");
  await using second = await Server.start(serveIn(temp), SERVING);
  const connection = await Deno.connect({ transport: "unix", path: temp.join("s.sock") });
  connection.close();
  await second[Symbol.asyncDispose]();
  await assert.rejects(Deno.lstat(temp.join("s.sock")), Deno.errors.NotFound);
});

Deno.test(
  { name: "an invalid configuration is refused by key, and a named file must exist", ignore },
  async () => {
    using temp = TempDir.make();
    const settings = temp.join("settings.toml");
    const config = temp.join("config.json");
    const write = Deno.writeTextFileSync;
    const withSettings = serveIn(temp, "--settings", settings);
    const withConfig = serveIn(temp, "--config", config);
    const missing = (path: string) => new RegExp(`cannot read \\w+ ${path}: there is no such file`);
    await fails(withSettings, missing(settings), /create it, or omit --settings/);
    await fails(withConfig, missing(config), /create it, or omit --config/);

    write(settings, "[fetch]\nretires = 3\n");
    await fails(withSettings, /settings\.toml: line 2: fetch\.retires is not known/, /settings\.toml/);
    write(settings, '[fetch]\ndeadline = "soon"\n');
    await fails(withSettings, /line 2: fetch\.deadline must be a time such as "5s"/, /settings\.toml/);
    await fails(serveIn(temp), /cannot use NYDUS_GD_FETCH_RETRIES: it must be an integer/, /NYDUS_GD_FETCH_RETRIES/, {
      env: { NYDUS_GD_FETCH_RETRIES: "many" },
    });

    const device = (backend: unknown) =>
      JSON.stringify({ mode: "direct", device: { backend, cache: { type: "blobcache" } } });
    write(config, "{");
    await fails(withConfig, /cannot read configuration .*config\.json: /, /config\.json/);
    write(config, device({ type: "tape", config: {} }));
    await fails(withConfig, /cannot read configuration .*config\.json: .*tape/, /config\.json/);
    write(config, device({ type: "registry", config: { host: "h", repo: 7 } }));
    await fails(withConfig, /cannot read configuration .*config\.json: .*repo/, /config\.json/);
  },
);

Deno.test({ name: "without root the hint is sudo", ignore }, async () => {
  using temp = TempDir.make();
  // a user namespace that maps us to root: only root may be able to read the repository and the package cache
  const within = ["unshare", "--user", "--map-user=65534", "--map-group=65534"];
  const options = { within, env: { HOME: "/nonexistent" } };
  await fails(serveIn(temp), /cannot serve: mounting needs root/, /sudo nydus-gd serve/, options);
  await fails(["mount", "x", temp.path], /cannot mount: it needs root/, /sudo nydus-gd mount/, options);
});

const IMAGE = "v6-prefetch-fs";
const BOOTSTRAP = fixtureOf(IMAGE).bootstrap;
const OTHER_BOOTSTRAP = fixtureOf("v6-zstd-toc").bootstrap;
const BLOBS = ["--blob-dir", `${RAFS_FIXTURES}/blobs`];
/** A /dev with only what every program needs. */
const NO_FUSE = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9";

Deno.test({ name: "a missing library or device is reported with its package or module", ignore }, async () => {
  using temp = TempDir.make();
  const mount = ["mount", BOOTSTRAP, temp.path, ...BLOBS];
  await fails(mount, /cannot load libfuse3\.so\.4 or libfuse3\.so\.3: library not found/, /apt-get install fuse3$/, {
    within: inNamespace(hideLibrary("libfuse3")),
  });
  await fails(mount, /cannot open "\/dev\/fuse": ENOENT/, /modprobe fuse/, { within: inNamespace(NO_FUSE) });
});

Deno.test({ name: "mount reports which argument is wrong, and leaves nothing behind", ignore }, async (t) => {
  using temp = TempDir.make();
  const dir = temp.join("mnt");
  const none = temp.join("none");
  const garbage = temp.join("garbage");
  const empty = temp.join("empty");
  await Deno.mkdir(dir);
  await Deno.mkdir(empty);
  await Deno.writeFile(garbage, crypto.getRandomValues(new Uint8Array(8192)));
  const cases: [name: string, args: string[], sentence: RegExp, hint: RegExp, code?: number][] = [
    ["no such file", [none, dir, ...BLOBS], /cannot read bootstrap \S+none: there is no such file/, /path/],
    ["no such file, nor a location of its blobs", [none, dir], /none: there is no such file/, /path/],
    [
      "random bytes",
      [garbage, dir, ...BLOBS],
      /cannot find a bootstrap in \S+garbage: it is neither/,
      /nydus-gd convert/,
    ],
    ["no location of the blobs", [BOOTSTRAP, dir], /the location of its blobs is not given/, /--blob-dir DIR/, 2],
    ["no folder of blobs", [BOOTSTRAP, dir, "--blob-dir", none], /none/, /--blob-dir/],
    ["missing blobs", [BOOTSTRAP, dir, "--blob-dir", empty], /cannot mount \S+: .*empty/, /--blob-dir/],
    ["no folder to mount on", [BOOTSTRAP, none, ...BLOBS], /cannot mount on \S+none: there is no such/, /mkdir -p/],
    ["a file to mount on", [BOOTSTRAP, garbage, ...BLOBS], /cannot mount on \S+garbage: it is not a folder/, /folder/],
    [
      "swapped arguments",
      [dir, BOOTSTRAP, ...BLOBS],
      /cannot mount on \S+: it is not a folder/,
      new RegExp(`the image comes first: nydus-gd mount ${BOOTSTRAP} ${dir}$`),
      2,
    ],
    [
      "a reference where a folder is expected",
      [dir, "registry.example/app:1"],
      /cannot find folder registry\.example\/app:1: there is no registry\.example/,
      /the image comes first: nydus-gd mount registry\.example\/app:1 \S+$/,
      2,
    ],
    ["a folder that is no image", [dir, dir, ...BLOBS], /cannot read bootstrap \S+: it is not a file/, /oci:\S+/, 2],
    [
      "another data path",
      [BOOTSTRAP, dir, ...BLOBS, "--fs-driver", "erofs-fscache"],
      /fs_driver erofs-fscache/,
      /auto/,
    ],
    ["no such configuration", [BOOTSTRAP, dir, "--config", none], /none: there is no such file/, /--config/],
    ["both homes", [BOOTSTRAP, dir, ...BLOBS, "--config", none], /'--blob-dir <dir>' cannot be used/, /--help/, 2],
  ];
  for (const [name, args, sentence, hint, code = 1] of cases) {
    await t.step(name, async () => {
      await fails(["mount", ...args], sentence, hint, { code });
      await fails(["mount", "--background", ...args], sentence, hint, { code });
      assert.equal(mountAt(dir), undefined);
      for (const place of [dir, none, garbage]) await hasNoState(place);
    });
  }
});

Deno.test({ name: "a background mount serves reads, is busy for others, and is ended by umount", ignore }, async () => {
  using temp = TempDir.make();
  const { code, stdout, stderr } = await run(["mount", "--background", BOOTSTRAP, temp.path, ...BLOBS]);
  assert.deepEqual([code, stderr], [0, ""]);
  const pid = /^mounted .* \((?:erofs-)?fuse\), process (\d+), log \S+\n$/.exec(stdout)?.[1];
  assert.ok(pid !== undefined, stdout);
  try {
    await readsRight(temp.path);
    const busy = /: an image is mounted there/;
    await fails(["mount", BOOTSTRAP, temp.path, ...BLOBS], busy, /nydus-gd umount/);
    await fails(["mount", "--background", BOOTSTRAP, temp.path, ...BLOBS], busy, /nydus-gd umount/);
    using _inside = await Deno.open(temp.path);
    await fails(["umount", temp.path], /: it is in use/, /fuser -vm/);
  } finally {
    assert.deepEqual(await run(["umount", `${temp.path}/`]), { code: 0, stdout: "", stderr: "" });
  }
  await hasEnded(pid);
  await hasNoState(temp.path);
  await fails(["umount", temp.path], /: nothing is mounted there/, /findmnt -t fuse\.nydus-gd,erofs/);
});

for (const fsDriver of TESTED_DATA_PATHS) {
  Deno.test({ name: `umount cleans up after a server that was killed (${fsDriver})`, ignore }, async () => {
    using temp = TempDir.make();
    const server = await Server.start(["mount", "--fs-driver", fsDriver, BOOTSTRAP, temp.path, ...BLOBS], /^mounted /);
    await server.kill();
    assert.deepEqual(await run(["umount", temp.path]), { code: 0, stdout: "", stderr: "" });
    assert.equal(mountAt(temp.path), undefined);
    await hasNoState(temp.path);
  });

  Deno.test(
    { name: `the same command takes over the mount of a killed server (${fsDriver})`, ignore },
    async () => {
      using temp = TempDir.make();
      const mount = ["mount", "--fs-driver", fsDriver, BOOTSTRAP, temp.path, ...BLOBS];
      const killed = await Server.start(mount, /^mounted /);
      await using open = await waitingReader(temp.path);
      await killed.kill();
      const read = open.readNow();
      const other = ["mount", OTHER_BOOTSTRAP, temp.path, ...BLOBS];
      await fails(other, /: another image is mounted there/, /nydus-gd umount/);
      await fails([other[0] ?? "", "--background", ...other.slice(1)], /: another image is mounted/, /nydus-gd umount/);
      {
        await using _server = await Server.start(mount, /^mounted /);
        assert.equal(await read, open.expected);
        await readsRight(temp.path);
      }
      assert.equal(mountAt(temp.path), undefined);
      await hasNoState(temp.path);
    },
  );
}

for (const fsDriver of ["erofs-fuse", "fuse"]) {
  Deno.test({ name: `a mount whose keeper was killed as well is reported as dead (${fsDriver})`, ignore }, async () => {
    using temp = TempDir.make();
    const mount = ["mount", "--fs-driver", fsDriver, BOOTSTRAP, temp.path, ...BLOBS];
    await killWithKeeper(await Server.start(mount, /^mounted /), `${statePath(temp.path)}/keeper.json`);
    await fails(mount, /: a mount is there that is no longer served/, /nydus-gd umount/);
    assert.deepEqual(await run(["umount", temp.path]), { code: 0, stdout: "", stderr: "" });
    await hasNoState(temp.path);
  });
}

Deno.test(
  { name: "a mount whose keeper was killed as well is served again by the same command (erofs-fanotify)", ignore },
  async () => {
    using temp = TempDir.make();
    const mount = ["mount", "--fs-driver", "erofs-fanotify", BOOTSTRAP, temp.path, ...BLOBS];
    await killWithKeeper(await Server.start(mount, /^mounted /), `${statePath(temp.path)}/fanotify-keeper.json`);
    {
      await using _server = await Server.start(mount, /^mounted /);
      await readsRight(temp.path);
    }
    assert.equal(mountAt(temp.path), undefined);
    await hasNoState(temp.path);
  },
);

async function killWithKeeper(server: Server, record: string): Promise<void> {
  await server.kill();
  const { pid } = JSON.parse(await Deno.readTextFile(record)) as { pid: number };
  Deno.kill(pid, "SIGKILL");
  await hasEnded(String(pid));
}

Deno.test(
  { name: "an image reference is mounted from its registry, an ordinary image is refused", ignore },
  async () => {
    using temp = TempDir.make();
    await using registry = await FakeRegistry.start();
    const lazy = await storeLazy(registry, { tag: "lazy", made: IMAGE });
    const ordinary = await storeImage(registry, "ordinary", [tarOf(tarFile("file", "text"))]);
    {
      await using _server = await Server.start(["mount", lazy.reference, temp.path], /^mounted /);
      await readsRight(temp.path);
    }
    assert.equal(mountAt(temp.path), undefined);
    const refusal = new RegExp(`${ordinary.reference}: it is not a nydus image`);
    await fails(["mount", ordinary.reference, temp.path], refusal, /nydus-gd convert/);
    const options = { env: { NYDUS_GD_FETCH_RETRIES: "0" } };
    await fails(["mount", `${registry.host}/app:none`, temp.path], /HTTP 404 MANIFEST_UNKNOWN/, /tag/, options);
    await registry.goDown();
    await fails(
      ["mount", lazy.reference, temp.path],
      /connection to \S+ refused/,
      /nothing is listening there/,
      options,
    );
  },
);

/** A program that has a file of the image open and reads it when it gets a line of input. */
async function waitingReader(dir: string) {
  const file = readListing(fixtureOf(IMAGE).listing).find(({ type }) => type === "reg");
  const script = 'exec 3<"$0"; echo open; read _; sha256sum <&3';
  const args = ["-c", script, `${dir}${file?.path}`];
  const child = new Deno.Command("sh", { args, stdin: "piped", stdout: "piped" }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await lines.read()).value, "open\n");
  return {
    expected: file?.sha256,
    async readNow(): Promise<string | undefined> {
      const input = child.stdin.getWriter();
      await input.write(new TextEncoder().encode("\n"));
      await input.close();
      return (await lines.read()).value?.split(" ")[0];
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await lines.cancel();
      await child.status;
    },
  };
}

/** Asserts that a file of the mounted image has the expected content; another process reads it. */
async function readsRight(dir: string): Promise<void> {
  const file = readListing(fixtureOf(IMAGE).listing).find(({ type }) => type === "reg");
  const { stdout } = await new Deno.Command("sha256sum", { args: [`${dir}${file?.path}`] }).output();
  assert.equal(new TextDecoder().decode(stdout).split(" ")[0], file?.sha256);
}

/** Asserts that no state of a mount on `place` is left; other mounts of this machine may change. */
async function hasNoState(place: string): Promise<void> {
  await assert.rejects(Deno.lstat(statePath(place)), Deno.errors.NotFound);
}

/** Waits until a process has exited, or is a zombie. */
function hasEnded(pid: string): Promise<void> {
  return until(`process ${pid} ends`, () => /^$|\) [ZX] /.test(readProcessFile(pid, "stat") ?? ""));
}

Deno.test({ name: "a closed terminal ends a mount as an interrupt does, but not under nohup", ignore }, async () => {
  using temp = TempDir.make();
  const dir = temp.join("mnt");
  Deno.mkdirSync(dir);
  using cleanup = new DisposableStack();
  cleanup.defer(() => mountAt(dir) && umount2(dir, MNT.DETACH)); // of a server that died: whoever looks there waits
  const { bootstrap } = fixtureOf("v6-layers-merged");
  const words = ["mount", "--fs-driver", "fuse", "--blob-dir", `${RAFS_FIXTURES}/blobs`, bootstrap, dir];
  const kept = await Server.start(words, /^mounted /, { env: { NYDUS_GD_NOHUP: "1" } }); // as by the launcher
  kept.process.kill("SIGHUP");
  await kept[Symbol.asyncDispose](); // by SIGTERM
  assert.equal((await kept.process.status).signal, null, "it was not killed");
  assert.equal((await kept.process.status).code, 0);
  await using closed = await Server.start(words, /^mounted /);
  for (const signal of ["SIGHUP", "SIGTERM"] as const) closed.process.kill(signal); // a session's end sends both
  assert.equal((await closed.process.status).code, 0);
  assert.equal(mountAt(dir), undefined);
});
