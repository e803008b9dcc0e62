/**
 * `nydus-gd doctor`, with each failure provoked: in a mount namespace that lacks something, with a damaged daemon, or
 * with wrong files.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { processStat } from "../../ffi/procfs.ts";
import type { CheckResult } from "../../lib/doctor/check.ts";
import { keeperPath } from "../../lib/mount/keeper/keeper.ts";
import { commandLine, inNamespace, run, type RunOptions, Server } from "../support/process/command.ts";
import { plainDocker, serveFakeDocker } from "../support/docker/fake_docker.ts";
import { LazyServe } from "../support/serve/lazy_serve.ts";
import { fixtureOf, RAFS_FIXTURES } from "../support/rafs/rafs_fixtures.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

/** Results of a doctor on an installation in `temp`, by the names of its checks. */
async function doctor(
  temp: TempDir,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<{ code: number; checks: Map<string, CheckResult> }> {
  const places = ["--root", temp.join("root"), "--admin-socket", temp.join("root.admin.sock")];
  const files = ["--socket", temp.join("gd.sock"), "--docker-host", `unix://${temp.join("docker.sock")}`];
  const { code, stdout, stderr } = await run(["doctor", "-o", "json", ...places, ...files, ...args], options);
  assert.equal(stderr, "");
  const { checks, counts } = JSON.parse(stdout) as { checks: CheckResult[]; counts: Record<string, number> };
  assert.equal(code, counts.fail === 0 ? 0 : 3);
  return { code, checks: new Map(checks.map((check) => [check.name, check])) };
}

/** Asserts the verdict, text and fix of a check. */
function says(
  { checks }: { checks: Map<string, CheckResult> },
  name: string,
  verdict: CheckResult["verdict"],
  seen: RegExp,
  mend?: RegExp,
): void {
  const check = checks.get(name) ?? assert.fail(`no check "${name}" among ${[...checks.keys()].join(", ")}`);
  assert.equal(check.verdict, verdict, `${name}: ${check.seen}`);
  assert.match(check.seen, seen);
  if (mend !== undefined) assert.match(check.mend ?? "", mend, name);
}

/** A /dev with only what every program needs. */
const NO_FUSE = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9";
/** A script that makes a library of any version unusable. */
const hideLibrary = (name: string) =>
  `for f in $(ldconfig -p | sed -n 's|.*=> \\(.*/${name}\\.so\\..*\\)|\\1|p'); do mount --bind /dev/null "$f"; done`;

rootTest("an unused installation is checked, and nothing is left behind", async () => {
  using temp = TempDir.make();
  const mounts = mountsBelow("/").length;
  const seen = await doctor(temp);
  says(seen, "version", "skipped", /Docker does not answer/);
  says(seen, "libfuse3", "ok", /^libfuse3\.so\.\d 3\.\d+/);
  says(seen, "FUSE", "ok", /can be opened/);
  says(seen, "mount by fuse", "ok", /bytes read through it and through an overlay, all of them correct/);
  says(seen, "driver socket", "fail", /there is no \S+gd\.sock/, /nydus-gd serve|systemctl start/);
  says(
    seen,
    "daemon",
    "fail",
    /Cannot ask Docker: Docker is not running, there is no socket \S+docker\.sock/,
    /start the dockerd that serves it, or correct DOCKER_HOST/,
  );
  assert.deepEqual([...Deno.readDirSync(temp.path)], []);
  assert.equal(mountsBelow("/").length, mounts);
});

rootTest("a limit that is too low for a daemon is named, with what raises it", async () => {
  using temp = TempDir.make();
  const limited = await doctor(temp, [], { within: ["prlimit", "--nofile=500"] });
  says(limited, "limits", "warn", /open files are limited to 500/, /LimitNOFILE=/);
});

rootTest("text output has groups, verdicts, fixes and a summary", async () => {
  using temp = TempDir.make();
  const { code, stdout } = await run(["doctor", "--root", temp.join("root"), "--docker-host", "tcp://h:1"]);
  assert.equal(code, 3);
  assert.match(stdout, /^nydus-gd \d\S+ on Linux \S+\n\nkernel\n {2}ok {4}version +Linux /);
  assert.match(
    stdout,
    /\n {2}FAIL {2}daemon +Cannot use Docker at "tcp:\/\/h:1": it is not a unix:\/\/ socket\n +fix: .*DOCKER_HOST=/,
  );
  assert.match(stdout, /\n\n\d+ failed, \d+ warnings?, \d+ skipped, \d+ ok\n$/);
});

rootTest("missing kernel features and libraries are reported with what provides them", async () => {
  using temp = TempDir.make();
  const bare = await doctor(temp, [], { within: inNamespace(NO_FUSE) });
  says(bare, "FUSE", "fail", /"\/dev\/fuse": ENOENT/, /modprobe fuse/);
  says(bare, "mount by fuse", "fail", /"\/dev\/fuse": ENOENT/, /modprobe fuse/);
  const forbidding = 'mount -t tmpfs -o nodev none "$0" && mknod "$0/fuse" c 10 229 && mount --bind "$0/fuse" /dev/fuse'
    .replaceAll("$0", temp.path);
  const forbidden = await doctor(temp, [], { within: inNamespace(forbidding) });
  says(forbidden, "FUSE", "fail", /the device is forbidden/, /DeviceAllow/);
  const hidden = ["libfuse3", "libzstd", "liblz4"].map(hideLibrary).join("; ");
  const poor = await doctor(temp, [], { within: inNamespace(hidden) });
  says(poor, "libfuse3", "fail", /Cannot load libfuse3\.so\.4 or .*: library not found/, /apt-get install fuse3$/);
  says(poor, "libzstd", "fail", /Cannot load libzstd\.so\.1/, /apt-get install libzstd1/);
  says(poor, "liblz4", "fail", /Cannot load liblz4\.so\.1/, /apt-get install liblz4-1/);
});

rootTest("an invalid configuration, or one with ineffective keys, is reported by key", async () => {
  using temp = TempDir.make();
  const [settings, config] = [temp.join("settings.toml"), temp.join("config.json")];
  const files = ["--settings", settings, "--config", config];
  const missing = await doctor(temp, files);
  says(missing, "settings", "fail", /settings\.toml: there is no such file/, /create it/);
  says(missing, "nydusd's file", "fail", /config\.json: there is no such file/, /create it/);

  await Deno.writeTextFile(settings, "[fetch]\nretires = 3\n");
  const backend = { type: "localfs", config: { dir: temp.join("blobs"), mood: "good" } };
  await Deno.writeTextFile(config, JSON.stringify({ device: { backend }, mode: "direct" }));
  const slips = await doctor(temp, files);
  says(slips, "settings", "fail", /line 2: fetch\.retires is not known/, /edit \S+settings\.toml/);
  says(slips, "nydusd's file", "warn", /device\.backend\.config\.mood is unknown and ignored/, /config\.json/);
  says(slips, "backend localfs", "fail", /blobs/, /mkdir/);

  await Deno.mkdir(temp.join("blobs"));
  await Deno.writeTextFile(settings, '[mount]\nfs_driver = "fuse"\n');
  const right = await doctor(temp, files);
  says(right, "settings", "ok", /settings\.toml/);
  says(right, "backend localfs", "ok", /localfs \S+blobs answers/);

  await Deno.writeTextFile(config, "{");
  says(await doctor(temp, files), "nydusd's file", "fail", /it is not valid JSON/, /config\.json/);
});

rootTest("a cache in memory, a full disk and a nearly full one are reported", async () => {
  using temp = TempDir.make();
  const cache = temp.join("cache");
  await Deno.mkdir(cache);
  const env = { NYDUS_GD_CACHE_DIR: cache };
  const small = `mount -t tmpfs -o size=64k tmpfs ${cache}`;
  const tiny = await doctor(temp, [], { env, within: inNamespace(small) });
  says(tiny, "cache", "warn", /on tmpfs: .*memory/, /cache\.dir/);
  says(tiny, "mount by fuse", "skipped", /no room for a trial/);
  const fill = `${small}; cat /dev/zero >${cache}/zero 2>/dev/null || true`;
  says(await doctor(temp, [], { env, within: inNamespace(fill) }), "free space", "fail", /^0 B free of /, /du /);
  const noInode = `mount -t tmpfs -o nr_inodes=1 tmpfs ${cache}`;
  says(await doctor(temp, [], { env, within: inNamespace(noInode) }), "free space", "fail", /no free inode/, /du /);
  const nearly = await doctor(temp, [], { env: { ...env, NYDUS_GD_CACHE_MIN_FREE: "100%" } });
  says(nearly, "free space", "warn", /less than cache\.min_free/, /cache\.dir/);
});

rootTest("folders that the daemon cannot use are told before it fails to start", async () => {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("file"), "");
  const within = (folder: string) => ({ env: { NYDUS_GD_CACHE_DIR: folder } });
  const aFile = await doctor(temp, [], within(temp.join("file")));
  says(aFile, "cache", "fail", /file is not a folder$/, /rm \S+file, or cache\.dir/);
  const below = await doctor(temp, [], within(temp.join("file/cache")));
  says(below, "cache", "fail", /^Cannot \w+ \S+file\/cache: not a directory$/, /^cache\.dir = /);
  const cache = temp.join("cache");
  await Deno.mkdir(cache);
  const readOnly = inNamespace(`mount -t tmpfs -o ro tmpfs ${cache}`);
  const fixed = await doctor(temp, [], { ...within(cache), within: readOnly });
  says(fixed, "cache", "fail", /^Cannot mkdir \S+cache\S+: read-only file system$/, /^cache\.dir = /);

  await Deno.mkdir(temp.join("root"));
  await Deno.writeTextFile(temp.join("root/state"), "");
  says(await doctor(temp), "state", "fail", /root\/state is not a folder$/, /rm /);
});

rootTest("a Docker that does not answer is told once, with where to look", async () => {
  using temp = TempDir.make();
  using silent = Deno.listen({ transport: "unix", path: temp.join("docker.sock") });
  const seen = await doctor(temp);
  says(seen, "daemon", "fail", /no answer within/, /journalctl -u docker/);
  says(seen, "layers", "skipped", /Docker does not answer/);
  assert.ok(silent);
});

rootTest(
  "an unavailable named data path and an unsuitable data-root are reported",
  async () => {
    using temp = TempDir.make();
    const docker = plainDocker();
    docker.info["DockerRootDir"] = temp.join("data");
    await using _docker = serveFakeDocker(temp.join("docker.sock"), docker);
    for (const folder of ["root", "data", "below"]) await Deno.mkdir(temp.join(folder));
    const overlay = `mount -t overlay -o lowerdir=${temp.join("below")}:/etc overlay ${temp.join("data")}`;
    const seen = await doctor(temp, [], {
      within: inNamespace(`mount -t tmpfs tmpfs ${temp.join("root")}; ${overlay}`),
      env: { NYDUS_GD_MOUNT_FS_DRIVER: "erofs-fuse" },
    });
    says(seen, "EROFS on files", "fail", /Cannot mount EROFS/, /mount\.fs_driver/);
    says(seen, "mount by erofs-fuse", "fail", /Cannot use fs_driver erofs-fuse/, /--fs-driver auto/);
    says(seen, "layers", "fail", /is on overlayfs: an overlay cannot be below/, /ext4 or xfs/);
    const right = await doctor(temp);
    says(right, "layers", "ok", /an overlay was mounted and written to/);
    assert.deepEqual([...Deno.readDirSync(temp.join("data"))], []);
  },
);

rootTest("where Docker keeps its images in containerd, the snapshots' place is tried", async () => {
  using temp = TempDir.make();
  const docker = plainDocker();
  docker.version = "28.5.2";
  docker.info["DockerRootDir"] = temp.join("data");
  await using _docker = serveFakeDocker(temp.join("docker.sock"), docker);
  for (const folder of ["root", "below"]) await Deno.mkdir(temp.join(folder));
  const right = await doctor(temp);
  says(right, "layers", "skipped", /snapshots of containerd/);
  says(right, "snapshots", "ok", /root\/snapshotter on \w+: an overlay was mounted and written to/);
  const overlay = `mount -t overlay -o lowerdir=${temp.join("below")}:/etc overlay ${temp.join("root")}`;
  const seen = await doctor(temp, [], { within: inNamespace(overlay) });
  says(seen, "snapshots", "fail", /is on overlayfs: an overlay cannot be below/, /ext4 or xfs/);
  docker.version = "20.10.24";
  says(await doctor(temp), "snapshots", "skipped", /no snapshotter is set up/);
});

rootTest("a daemon is ok, failed or missing; its sockets are accessible to root only", async () => {
  using temp = TempDir.make();
  const serve = ["serve", "--root", temp.join("root"), "--socket", temp.join("gd.sock")];
  const admin = temp.join("root.admin.sock");
  {
    await using server = await Server.start([...serve, "--admin-socket", admin], /serving/);
    const healthy = await doctor(temp);
    says(healthy, "driver socket", "ok", /gd\.sock/);
    says(healthy, "health", "ok", /well/);
    says(healthy, "lazy images", "ok", /none is mounted/);
    await Deno.chmod(admin, 0o666);
    await Deno.rename(temp.join("root/cache"), temp.join("root/elsewhere"));
    const unhealthy = await doctor(temp);
    says(unhealthy, "admin socket", "fail", /mode 0666, not to root with 0600/, /systemctl restart/);
    says(unhealthy, "health", "fail", /Cannot examine cache/, /nydus-gd status/);
    await server.kill();
  }
  says(
    await doctor(temp),
    "driver socket",
    "fail",
    /nothing is listening at .*killed/,
    /nydus-gd serve|systemctl start/,
  );
  await Deno.remove(admin);
  await Deno.writeTextFile(admin, "");
  says(await doctor(temp), "admin socket", "fail", /is not a socket/, /rm /);
});

rootTest("lazy images whose daemon or keeper is gone are reported", async () => {
  using temp = TempDir.make();
  await using serve = await LazyServe.start(temp.path);
  says(await doctor(temp), "lazy images", "ok", /served, and kept by process \d+/);
  const record = keeperPath(temp.join("root/state"));
  await Deno.rename(record, `${record}.away`);
  says(await doctor(temp), "lazy images", "fail", /no keeper: if the daemon is killed/, /restart/);
  await Deno.rename(`${record}.away`, record);
  await serve.driver.kill();
  says(
    await doctor(temp),
    "lazy images",
    "fail",
    /no daemon is serving: programs wait/,
    /nydus-gd serve|systemctl start/,
  );
  const { pid } = JSON.parse(await Deno.readTextFile(record)) as { pid: number };
  Deno.kill(pid, "SIGKILL");
  await until("the keeper has closed its files", () => !existsSync(`/proc/${pid}/fd/0`));
  says(await doctor(temp), "lazy images", "fail", /daemon and keeper are gone/, /stop and start the containers/);
});

rootTest("a manual mount whose server was killed is reported", async () => {
  using temp = TempDir.make();
  const place = temp.join("mnt");
  await Deno.mkdir(place);
  const mount = ["mount", fixtureOf("v6-prefetch-fs").bootstrap, place, "--blob-dir", `${RAFS_FIXTURES}/blobs`];
  const server = await Server.start(mount, /^mounted /);
  await server.kill();
  says(await doctor(temp), "mounts by hand", "fail", new RegExp(`${place}: the server has died`), /nydus-gd umount/);
  assert.equal((await run(["umount", place])).code, 0);
});

rootTest("the remains of a killed doctor are removed by the next one", async () => {
  using temp = TempDir.make();
  const folder = temp.join(".nydus-gd-doctor");
  const words = ["doctor", "--root", temp.join("root"), "--docker-host", `unix://${temp.join("docker.sock")}`];
  const [program, ...args] = commandLine(words);
  const killed = new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  await until("it is stopped while it has a mount", async () => {
    if (mountsBelow(folder).length === 0) return false;
    await stop(killed.pid);
    const isMounted = mountsBelow(folder).length > 0; // it may have been too late
    if (!isMounted) killed.kill("SIGCONT");
    return isMounted;
  });
  killed.kill("SIGKILL");
  await killed.status;
  assert.ok((await Deno.stat(folder)).isDirectory);
  says(await doctor(temp), "mount by fuse", "ok", /all of them correct/);
  assert.deepEqual([...Deno.readDirSync(temp.path)], []);
});

/** Stops a process; resolves when all of its threads have stopped. */
async function stop(pid: number): Promise<void> {
  Deno.kill(pid, "SIGSTOP");
  const threads = () => [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) => name);
  await until("it has stopped", () => threads().every((thread) => processStat(`${pid}/task/${thread}`)?.[0] === "T"));
}

rootTest("without root the checks that need it are skipped by name", async () => {
  using temp = TempDir.make();
  await Deno.chmod(temp.path, 0o777);
  const within = ["unshare", "--user", "--map-user=65534", "--map-group=65534"];
  const seen = await doctor(temp, [], { within, env: { HOME: "/nonexistent" } });
  says(seen, "root", "skipped", /not running as root/, /sudo nydus-gd doctor/);
  says(seen, "mount by fuse", "skipped", /needs root/, /sudo/);
  says(seen, "lazy images", "skipped", /only root can see the keeper/, /sudo/);
  says(seen, "libzstd", "ok", /libzstd/);
});
