/**
 * Which packages scripts/bootstrap.sh considers missing, tested with a separate dpkg database.
 *
 * @module
 */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { TempDir } from "../tests/support/temp_dir.ts";

const SCRIPT = new URL("bootstrap.sh", import.meta.url).pathname;

/** dpkg's database: an installed package, one only named by others, one of which only the configuration is left. */
const STATES = { here: "install ok installed", named: "unknown ok not-installed", left: "deinstall ok config-files" };
const DATABASE = Object.entries(STATES).map(([name, state]) =>
  `Package: ${name}\nStatus: ${state}\nMaintainer: a\nArchitecture: all\nVersion: 1\nDescription: b\n`
).join("\n");

Deno.test("packages that are installed, or whose command exists, are not missing", async () => {
  using temp = TempDir.make();
  for (const folder of ["info", "triggers", "updates"]) await Deno.mkdir(temp.join(folder));
  await Deno.writeTextFile(temp.join("status"), DATABASE);
  const words = ["here", "named", "left", "unknown", "named|here", "named?", "named:sh", "named:nydus-gd-no-command"];
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", 'script=$1; shift; . "$script"; missing_packages "$@"', "sh", SCRIPT, ...words],
    env: { DPKG_ADMINDIR: temp.path },
  }).output();
  assert.deepEqual(new TextDecoder().decode(stdout).trim().split("\n"), [
    "named",
    "left",
    "unknown",
    "named?",
    "named",
  ]);
});

/** Runs `words` after the script is sourced, as a user who owns nothing and may read only `temp`. */
async function asNobody(
  temp: TempDir,
  words: string,
  env: Record<string, string>,
): Promise<{ code: number; stderr: string }> {
  await Deno.chmod(temp.path, 0o755);
  const script = temp.join("bootstrap.sh");
  await Deno.writeTextFile(script, await Deno.readTextFile(SCRIPT), { mode: 0o644 });
  const { code, stderr } = await new Deno.Command("sh", {
    args: ["-c", `. "$1"; ${words}`, "sh", script],
    cwd: temp.path,
    env: { PATH: "/usr/bin:/bin", ...env },
    ...(Deno.uid() === 0 ? { uid: 65534, gid: 65534 } : {}),
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

Deno.test({ name: "a .tools of root is refused to others in a sentence", ignore: Deno.uid() !== 0 }, async () => {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join(".tools"));
  await Deno.writeTextFile(temp.join(".tools/.lock"), "");
  const { code, stderr } = await asNobody(temp, `root=${temp.path} && bootstrap runtime`, {});
  assert.equal(code, 1);
  assert.equal(
    stderr,
    `bootstrap: cannot write to ${temp.path}/.tools: it is not yours\n` +
      "hint: run as root, or clone the repository into a folder of yours\n",
  );
});

Deno.test({ name: "what root installs in another user's clone is that user's", ignore: Deno.uid() !== 0 }, async () => {
  using temp = TempDir.make();
  const handed = [".tools/.lock", ".tools/apt.log", ".tools/deno-cache/npm/a", "node_modules/b/c"];
  const kept = [".tools/bench/rootfs/d", "lib/e"];
  for (const path of [...handed, ...kept]) {
    await Deno.mkdir(dirname(temp.join(path)), { recursive: true });
    await Deno.writeTextFile(temp.join(path), "");
  }
  await Deno.chown(temp.path, 65534, 65534);
  const { code, stderr } = await new Deno.Command("sh", {
    args: ["-ec", '. "$1"; root=$2 tools=$2/.tools; hand_over', "sh", SCRIPT, temp.path],
  }).output();
  assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""]);
  const owner = async (path: string) => (await Deno.stat(temp.join(path))).uid;
  for (const path of [".tools", ".tools/deno-cache", ...handed]) assert.equal(await owner(path), 65534, path);
  for (const path of kept) assert.equal(await owner(path), 0, path);
});

Deno.test({ name: "packages that cannot be installed are named in one line", ignore: Deno.uid() !== 0 }, async () => {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("bin"));
  for (const name of ["dpkg-query", "apt-get"]) {
    await Deno.writeTextFile(temp.join(`bin/${name}`), "#!/bin/sh\n", { mode: 0o755 });
  }
  for (const name of ["id", "tr", "sed"]) await Deno.symlink(`/usr/bin/${name}`, temp.join(`bin/${name}`));
  const words = 'PATH=$BIN purpose=demo; install_packages "libfuse3-3|libfuse3-4" docker-cli?:docker kmod';
  const { code, stderr } = await asNobody(temp, words, { BIN: temp.join("bin") });
  assert.equal(code, 1);
  assert.equal(
    stderr,
    "bootstrap: cannot install libfuse3-3 or libfuse3-4 kmod: not root, and there is no sudo\n" +
      "hint: run as root: sh scripts/bootstrap.sh demo\n",
  );
});

Deno.test(
  { name: "a script that needs root says so before it installs anything", ignore: Deno.uid() !== 0 },
  async () => {
    using temp = TempDir.make();
    for (const script of ["demo", "bench"]) {
      const { code, stderr } = await asNobody(temp, `need_root ${script} --rows && echo installing >&2`, {});
      assert.deepEqual([code, stderr], [
        1,
        `bootstrap: cannot run scripts/${script}.sh: containers and mounts need root\n` +
        `hint: run as root: sh scripts/${script}.sh\n`,
      ]);
    }
    assert.deepEqual(await asNobody(temp, "need_root demo --help", {}), { code: 0, stderr: "" });
  },
);

Deno.test("a machine for which there is no Deno is refused by name, before anything is installed", async () => {
  using temp = TempDir.make();
  const machine = async (kernel: string, bits: number) => {
    for (const [name, answer] of [["uname", kernel], ["getconf", bits]]) {
      await Deno.writeTextFile(temp.join(`bin/${name}`), `#!/bin/sh\necho ${answer}\n`, { mode: 0o755 });
    }
    const script = '. "$1"; root=$2; cd() { echo "goes on"; exit; }; bootstrap runtime';
    const { stdout, stderr } = await new Deno.Command("sh", {
      args: ["-c", script, "sh", SCRIPT, temp.path],
      env: { PATH: `${temp.join("bin")}:/usr/bin:/bin` },
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  };
  await Deno.mkdir(temp.join("bin"));
  assert.equal(await machine("x86_64", 64), "goes on\n");
  assert.equal(await machine("aarch64", 64), "goes on\n");
  assert.match(await machine("riscv64", 64), /^bootstrap: cannot run on riscv64: there is no Deno for it\nhint: /);
  assert.match(
    await machine("aarch64", 32),
    /^bootstrap: cannot run on a 32-bit system: there is no Deno for it\nhint: /,
  );
});
