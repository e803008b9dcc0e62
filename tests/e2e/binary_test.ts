/**
 * The executable made by scripts/build.sh, run as on a machine without Deno: with an empty environment, in another
 * directory, and with an initially empty cache directory. As root, /var/cache is a directory of the test, in a mount
 * namespace of its own.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ignore } from "../../lib/base/errors.ts";
import { buildLauncher } from "../../scripts/build_binary.ts";
import { pack } from "../../scripts/pack.ts";

const BUILD = new URL("../../scripts/build_binary.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const DAY_MS = 24 * 60 * 60 * 1000;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with executables and the cache folder that they unpack to. */
class Machine implements AsyncDisposable {
  readonly folder: string;
  readonly #cache: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.#cache = join(folder, "cache");
  }

  static async create(): Promise<Machine> {
    const machine = new Machine(await Deno.makeTempDir());
    await Deno.mkdir(machine.#cache);
    return machine;
  }

  /** Builds the whole program and returns the executable's path. */
  async build(): Promise<string> {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", "--no-check", "--config", CONFIG, BUILD, "--no-deb", "--dist", this.folder],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    return join(this.folder, "nydus-gd");
  }

  /** Builds an executable of another version, whose program is `modules`, and returns its path. */
  async pack(version: string, modules: Record<string, string>): Promise<string> {
    const work = join(this.folder, `${version}.work`);
    await Deno.mkdir(work);
    const parts = [{ name: "deno", path: Deno.execPath(), mode: 0o755 }];
    for (const [name, source] of Object.entries(modules)) {
      const path = join(work, name);
      await Deno.writeTextFile(path, source);
      parts.push({ name, path, mode: 0o644 });
    }
    const target = join(this.folder, version);
    await pack(await buildLauncher(work), parts, target);
    return target;
  }

  get base(): string {
    return join(this.#cache, "nydus-gd");
  }

  /** The folders of all unpacked versions. */
  async versions(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(this.base), (entry) => join(this.base, entry.name))).sort();
  }

  /** The only folder that an executable has unpacked to. */
  async unpacked(): Promise<string> {
    const [folder, ...more] = await this.versions();
    assert.ok(folder !== undefined && more.length === 0);
    return folder;
  }

  /** Runs `executable` in an empty environment; as root /var/cache is the folder of this machine. */
  command(executable: string, args: readonly string[], stdin: "null" | "piped"): Deno.Command {
    const isRoot = Deno.uid() === 0;
    const inside = ["-m", "--propagation", "private", "sh", "-c", '/bin/mount --bind "$0" /var/cache && exec "$@"'];
    return new Deno.Command(isRoot ? "/usr/bin/unshare" : executable, {
      args: isRoot ? [...inside, this.#cache, "/usr/bin/env", "-i", executable, ...args] : [...args],
      clearEnv: true,
      env: isRoot ? { PATH: "/usr/bin:/bin" } : { XDG_CACHE_HOME: this.#cache },
      cwd: "/",
      stdin,
      stdout: "piped",
      stderr: "piped",
    });
  }

  async run(executable: string, ...args: string[]): Promise<Outcome> {
    return outcome(await this.command(executable, args, "null").output());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

function outcome({ code, stdout, stderr }: Deno.CommandOutput): Outcome {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Name, mode and digest of every file that the executable contains. */
async function contents(folder: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile) continue;
    const digest = createHash("sha256").update(await Deno.readFile(join(folder, name))).digest("hex");
    lines.push(`${name} ${(await Deno.stat(join(folder, name))).mode?.toString(8)} ${digest}`);
  }
  return lines.sort();
}

async function flipByte(path: string, offset: number): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  const byte = new Uint8Array(1);
  await file.seek(offset, Deno.SeekMode.Start);
  await file.read(byte);
  await file.seek(offset, Deno.SeekMode.Start);
  await file.write(byte.map((value) => value ^ 1));
}

/** As root the test needs a mount namespace, which an unprivileged container does not get. */
const isPermitted = Deno.uid() !== 0 ||
  new Deno.Command("unshare", { args: ["-m", "--propagation", "private", "true"], stderr: "null" }).outputSync()
    .success;
if (!isPermitted) console.error("binary_test: skipped, as root may not make a mount namespace here");

/** Makes the version in `folder` appear last used `days` ago. */
async function age(folder: string, days: number): Promise<void> {
  const then = new Date(Date.now() - days * DAY_MS);
  const runtime = join(folder, "deno");
  await Deno.utime(runtime, then, (await Deno.stat(runtime)).mtime ?? then);
  await Deno.utime(folder, then, then);
}

Deno.test({
  name: "the executable runs by itself, repairs its unpacked files, and refuses to run when damaged",
  ignore: !isPermitted,
  fn: testExecutable,
});

Deno.test({
  name: "unpacking removes versions not used for 30 days, but none in use",
  ignore: !isPermitted,
  fn: testPruning,
});

Deno.test({
  name: "the program learns from the launcher that it is to outlive its terminal",
  ignore: !isPermitted,
  fn: async () => {
    await using machine = await Machine.create();
    const executable = await machine.pack("one", { "main.js": 'console.log(Deno.env.get("NYDUS_GD_NOHUP"));' });
    assert.equal((await machine.run(executable)).stdout, "undefined\n");
    assert.equal((await machine.run("/usr/bin/nohup", executable)).stdout, "1\n");
  },
});

async function testExecutable(t: Deno.TestContext): Promise<void> {
  await using machine = await Machine.create();
  const executable = await machine.build();

  await t.step("help and version in an empty environment", async () => {
    const help = await machine.run(executable, "--help");
    assert.equal(help.stderr, "");
    assert.match(help.stdout, /^Usage: nydus-gd /);
    assert.equal(help.code, 0);
    assert.match((await machine.run(executable, "version")).stdout, /^nydus-gd \d/);
    assert.equal((await machine.run(executable, "versoin")).code, 2);
  });

  await t.step("a removed working directory is reported in one line with a hint", async () => {
    const script = 'cd "$(mktemp -d)" && rmdir "$PWD" && exec "$0" version';
    const { code, stdout, stderr } = await machine.run("/bin/sh", "-c", script, executable);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^nydus-gd: cannot find the working directory: .+\nhint: cd \/\n$/);
  });

  await t.step("digests by blake3 are made by the library that it carries", async () => {
    const [source, target] = [join(machine.folder, "tree"), join(machine.folder, "image")];
    await Deno.mkdir(source);
    const words = ["convert", "--digester", "blake3", "--work-dir", machine.folder, `dir:${source}`, `oci:${target}`];
    const { code, stderr } = await machine.run("/usr/bin/env", "LD_DEBUG=files", executable, ...words);
    assert.equal(code, 0, stderr.replaceAll(/^ *\d+:\t.*\n/gm, ""));
    assert.match(stderr, /calling init: .+\/nydus-gd\/.+\/libblake3\.so/); // by ld.so
  });

  await t.step({
    name: "a user's doctor leaves to root what only root may see",
    ignore: Deno.uid() !== 0,
    fn: async () => {
      const root = join(machine.folder, "root");
      await Deno.mkdir(root, { mode: 0o700 });
      await Deno.chmod(machine.folder, 0o755);
      const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
      const words = [...nobody, executable, "doctor", "-o", "json", "--root", root];
      const { stdout, stderr } = await machine.run("/usr/bin/setpriv", ...words);
      assert.equal(stderr, "");
      const { checks } = JSON.parse(stdout) as { checks: { group: string; verdict: string; mend?: string }[] };
      const verdicts = checks.filter(({ group }) => group === "storage").map(({ verdict }) => verdict);
      assert.deepEqual([...new Set(verdicts)], ["skipped"]);
    },
  });

  const folder = await machine.unpacked();
  const sound = await contents(folder);
  const damage: Record<string, () => Promise<void>> = {
    "a byte of the runtime": () => flipByte(join(folder, "deno"), 50_000_000),
    "a byte of the runtime under an unchanged mtime": async () => {
      const path = join(folder, "deno");
      const { size, atime, mtime, ino } = await Deno.stat(path);
      assert.ok(atime !== null && mtime !== null);
      await flipByte(path, Math.floor(size / 2));
      await Deno.utime(path, atime, mtime);
      const after = await Deno.stat(path);
      assert.deepEqual([after.size, after.mtime, after.ino], [size, mtime, ino]);
    },
    "the last byte of the runtime": async () => {
      const path = join(folder, "deno");
      await flipByte(path, (await Deno.stat(path)).size - 1);
    },
    "a byte of the program": () => flipByte(join(folder, "main.js"), 100),
    "a program cut short": () => Deno.truncate(join(folder, "main.js"), 10),
    "a missing runtime": () => Deno.remove(join(folder, "deno")),
    "a file that others may write": () => Deno.chmod(join(folder, "main.js"), 0o666),
    "a link in the place of a file": async () => {
      await Deno.rename(join(folder, "main.js"), join(folder, "other.js"));
      await Deno.symlink("other.js", join(folder, "main.js"));
    },
  };
  for (const [name, apply] of Object.entries(damage)) {
    await t.step(`${name} is repaired at the next start`, async () => {
      await apply();
      const { code, stdout, stderr } = await machine.run(executable, "version");
      assert.deepEqual([code, stderr], [0, ""]);
      assert.match(stdout, /^nydus-gd \d/);
      const seen = await contents(folder);
      assert.deepEqual(seen.filter((line) => !line.startsWith("other.js ")), sound);
    });
  }

  await t.step("a damaged executable reports the damage, and unpacks nothing", async () => {
    await Deno.remove(folder, { recursive: true });
    await flipByte(executable, 50_000_000);
    assert.deepEqual(await machine.run(executable, "version"), {
      code: 1,
      stdout: "",
      stderr: "nydus-gd: cannot unpack deno: this executable is damaged\nhint: get the file again\n",
    });
    assert.deepEqual(await contents(await machine.unpacked()), [
      `.lock 100600 ${createHash("sha256").digest("hex")}`,
    ]);
  });
}

async function testPruning(t: Deno.TestContext): Promise<void> {
  await using machine = await Machine.create();
  const waiting = await machine.pack("waiting", {
    "main.js": `console.log("ready");
      for await (const _ of Deno.stdin.readable);
      console.log((await import("./late.js")).late);`,
    "late.js": `export const late = "still here";`,
  });
  const brief = await machine.pack("brief", { "main.js": "" });
  const newer = await machine.pack("newer", { "main.js": "1" });

  assert.equal((await machine.run(brief)).code, 0);
  const briefFolder = await machine.unpacked();
  await Deno.mkdir(join(briefFolder, "deno-dir/inner"), { recursive: true });
  await Deno.symlink(machine.folder, join(briefFolder, "deno-dir/inner/link"));
  const foreign = join(machine.base, "deno-dir"), recent = join(machine.base, "0".repeat(32));
  for (const folder of [foreign, recent]) {
    await Deno.mkdir(folder);
    await Deno.writeTextFile(join(folder, "deno"), "");
  }
  const child = machine.command(waiting, [], "piped").spawn();
  const output = child.stdout.getReader();
  try {
    assert.equal(new TextDecoder().decode((await output.read()).value), "ready\n");
    const [waitingFolder] = (await machine.versions()).filter((path) => ![briefFolder, foreign, recent].includes(path));
    assert.ok(waitingFolder !== undefined);
    await age(briefFolder, 31);
    await age(waitingFolder, 31);
    await age(foreign, 31);
    await age(recent, 29);

    await t.step("an old version is removed; versions in use, recent ones and foreign folders stay", async () => {
      assert.deepEqual(await machine.run(newer), { code: 0, stdout: "", stderr: "" });
      const left = await machine.versions();
      const [newerFolder] = left.filter((path) => ![waitingFolder, foreign, recent].includes(path));
      assert.ok(newerFolder !== undefined && newerFolder !== briefFolder);
      assert.deepEqual(left, [waitingFolder, foreign, recent, newerFolder].sort());
    });

    await t.step("the program in use still finds its files", async () => {
      await child.stdin.close();
      assert.equal(new TextDecoder().decode((await output.read()).value), "still here\n");
      assert.equal((await child.status).code, 0);
    });

    await t.step("an old version is removed once unused; a start without unpacking removes nothing", async () => {
      assert.equal((await machine.run(newer)).code, 0);
      await Deno.stat(waitingFolder);
      assert.equal((await machine.run(brief)).code, 0);
      await assert.rejects(Deno.stat(waitingFolder), Deno.errors.NotFound);
      await Deno.stat(briefFolder);
    });
  } finally {
    await output.cancel();
    await child.stderr.cancel();
    await ignore(TypeError, child.stdin.close());
    await child.status;
  }
}
