/**
 * The executable that scripts/build.sh makes, as a machine without Deno runs it: an empty environment, another folder,
 * and a cache folder that starts empty. As root /var/cache is a folder of the test, in a mount namespace of its own.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";

const BUILD = new URL("../../scripts/build_binary.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

class Machine implements AsyncDisposable {
  readonly #folder: string;
  readonly #cache: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#cache = join(folder, "cache");
  }

  /** Builds the executable and an empty cache folder. */
  static async build(): Promise<Machine> {
    const machine = new Machine(await Deno.makeTempDir());
    await Deno.mkdir(machine.#cache);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", "--no-check", "--config", CONFIG, BUILD, "--no-deb", "--dist", machine.#folder],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    return machine;
  }

  get executable(): string {
    return join(this.#folder, "nydus-gd");
  }

  /** The one folder that the executable has unpacked itself into. */
  async unpacked(): Promise<string> {
    const base = join(this.#cache, "nydus-gd");
    const [folder, ...more] = await Array.fromAsync(Deno.readDir(base), (entry) => join(base, entry.name));
    assert.ok(folder !== undefined && more.length === 0);
    return folder;
  }

  async run(...args: string[]): Promise<Outcome> {
    const command = [this.executable, ...args];
    const isRoot = Deno.uid() === 0;
    const inside = ["-m", "--propagation", "private", "sh", "-c", '/bin/mount --bind "$0" /var/cache && exec "$@"'];
    const output = await new Deno.Command(isRoot ? "/usr/bin/unshare" : this.executable, {
      args: isRoot ? [...inside, this.#cache, "/usr/bin/env", "-i", ...command] : args,
      clearEnv: true,
      env: isRoot ? { PATH: "/usr/bin:/bin" } : { XDG_CACHE_HOME: this.#cache },
      cwd: "/",
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Name, mode and digest of every file that the executable carries. */
async function contents(folder: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile || name === "checked") continue;
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

/** As root the test needs a mount namespace, which a container without privileges does not get. */
const isPermitted = Deno.uid() !== 0 ||
  new Deno.Command("unshare", { args: ["-m", "--propagation", "private", "true"], stderr: "null" }).outputSync()
    .success;
if (!isPermitted) console.error("binary_test: skipped, as root may not make a mount namespace here");

Deno.test({
  name: "the executable runs by itself, repairs what it has unpacked, and refuses when it is damaged",
  ignore: !isPermitted,
  fn: testExecutable,
});

async function testExecutable(t: Deno.TestContext): Promise<void> {
  await using machine = await Machine.build();

  await t.step("help and version in an empty environment", async () => {
    const help = await machine.run("--help");
    assert.equal(help.stderr, "");
    assert.match(help.stdout, /^Usage: nydus-gd /);
    assert.equal(help.code, 0);
    assert.match((await machine.run("version")).stdout, /^nydus-gd \d/);
    assert.equal((await machine.run("versoin")).code, 2);
  });

  const folder = await machine.unpacked();
  const sound = await contents(folder);
  const damage: Record<string, () => Promise<void>> = {
    "a byte of the runtime": () => flipByte(join(folder, "deno"), 50_000_000),
    "a byte of the program": () => flipByte(join(folder, "main.js"), 100),
    "a program cut short": () => Deno.truncate(join(folder, "main.js"), 10),
    "a missing runtime": () => Deno.remove(join(folder, "deno")),
    "a file that others may write": () => Deno.chmod(join(folder, "main.js"), 0o666),
    "no note of what was checked": () => Deno.remove(join(folder, "checked")),
    "a link in the place of a file": async () => {
      await Deno.rename(join(folder, "main.js"), join(folder, "other.js"));
      await Deno.symlink("other.js", join(folder, "main.js"));
    },
  };
  for (const [name, apply] of Object.entries(damage)) {
    await t.step(`${name} is repaired at the next start`, async () => {
      await apply();
      const { code, stdout, stderr } = await machine.run("version");
      assert.deepEqual([code, stderr], [0, ""]);
      assert.match(stdout, /^nydus-gd \d/);
      const seen = await contents(folder);
      assert.deepEqual(seen.filter((line) => !line.startsWith("other.js ")), sound);
    });
  }

  await t.step("a damaged executable says so, and unpacks nothing", async () => {
    await Deno.remove(folder, { recursive: true });
    await flipByte(machine.executable, 50_000_000);
    assert.deepEqual(await machine.run("version"), {
      code: 1,
      stdout: "",
      stderr: "nydus-gd: cannot unpack deno: this executable is damaged\nhint: get the file again\n",
    });
    assert.deepEqual(await contents(await machine.unpacked()), [
      `.lock 100600 ${createHash("sha256").digest("hex")}`,
    ]);
  });
}
