/**
 * `nydus-gd setup` as used interactively: its questions, its refusals, and the state after it is killed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ignore as ignoreMissing } from "../../lib/base/errors.ts";
import { commandLine, fails, inNamespace, run } from "../support/process/command.ts";
import { containerdMissing } from "../support/docker/containerd_stack.ts";
import { plainDocker, serveFakeDocker } from "../support/docker/fake_docker.ts";
import { PrefixMachine } from "../support/machine/setup_prefix.ts";
import { shellWords } from "../support/process/shell_words.ts";
import { TempDir } from "../support/temp_dir.ts";

const DAEMON_JSON = "/etc/docker/daemon.json";

/** A machine with Docker on overlay2. */
function makeMachine(): PrefixMachine {
  const machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(DAEMON_JSON, '{\n  "storage-driver": "overlay2"\n}\n');
  return machine;
}

/** Runs `nydus-gd setup ARGS` at a terminal of 60 columns, with `answer` as input. */
async function atTerminal(args: readonly string[], answer: string): Promise<{ code: number; shown: string }> {
  const words = `stty columns 60; ${shellWords(commandLine(["setup", ...args]))}`;
  const child = new Deno.Command("script", {
    args: ["--quiet", "--return", "--command", words, "/dev/null"],
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  let shown = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const wasAsked = shown.includes("[y/N]");
    shown += text;
    if (!wasAsked && shown.includes("[y/N]")) await input.write(new TextEncoder().encode(answer));
  }
  await input.close();
  return { code: (await child.status).code, shown };
}

Deno.test("setup shows its plan as a diff and asks; only yes changes anything", async () => {
  using machine = makeMachine();
  const tree = machine.tree();
  const prefix = ["--prefix", machine.host.prefix];
  const no = await atTerminal(prefix, "n\n");
  assert.equal(no.code, 0, no.shown);
  assert.match(no.shown, /^- {2}"storage-driver": "overlay2"\r?\n\+ {2}"storage-driver": "nydus-gd",/m);
  assert.match(no.shown, /Note:\r?\n( {2}\S.*\r?\n){2,}\r?\nDo it/); // one note of more than 60 columns
  assert.match(no.shown, /Do it\? \[y\/N\] n\r?\nNothing was changed\./);
  assert.deepEqual(machine.tree(), tree);
  const yes = await atTerminal(prefix, "yes\n");
  assert.match(yes.shown, /The files are written; no service was touched\./);
  assert.match(machine.read(DAEMON_JSON), /nydus-gd/);
  const undone = await atTerminal([...prefix, "--undo"], "y\n");
  assert.match(undone.shown, /Everything is as it was before setup\./);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("Ctrl-C at the question exits without changes", async () => {
  using machine = makeMachine();
  const tree = machine.tree();
  const { code, shown } = await atTerminal(["--prefix", machine.host.prefix], "\x03");
  assert.equal(code, 130, shown);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("an impossible setup is refused in one line, with a hint", async () => {
  using machine = makeMachine();
  const prefix = ["--prefix", machine.host.prefix];
  await fails(
    ["setup", ...prefix, "--target", "containerd"],
    /cannot set up containerd: it is not installed/,
    /install/,
  );
  const nobody = await run(["setup", ...prefix]);
  assert.equal(nobody.code, 2);
  assert.match(nobody.stdout, /\+\+\+ \/etc\/docker\/daemon\.json/);
  assert.match(nobody.stderr, /^nydus-gd: cannot ask: standard input is not a terminal\nhint: --yes, or --dry-run\n$/);
  await fails(["setup", ...prefix, "--targt", "x"], /unknown option '--targt'/, /--target/, { code: 2 });
  machine.write(DAEMON_JSON, '{\n  "a": 1,\n  // no\n}\n');
  await fails(["setup", ...prefix, "--yes"], /daemon\.json: line 3: it has a comment/, /correct/);
  machine.hasDocker("28.5.2");
  await fails(
    ["setup", ...prefix, "--yes", "--target", "docker"],
    /Docker 28\.5\.2: it no longer supports graph-driver plugins/,
    /nydus-gd setup --target containerd/,
  );
});

Deno.test(
  { name: "the Docker of the settings is the one that is queried", ignore: Deno.uid() !== 0 },
  async () => {
    using temp = TempDir.make();
    await using _docker = serveFakeDocker(temp.join("docker.sock"), plainDocker());
    await Deno.writeTextFile(temp.join("settings.toml"), `[docker]\nhost = "unix://${temp.join("docker.sock")}"\n`);
    const etc = [
      `mount -t tmpfs tmpfs ${temp.path}/etc && mkdir ${temp.path}/etc/up ${temp.path}/etc/work`,
      `mount -t overlay -o lowerdir=/etc,upperdir=${temp.path}/etc/up,workdir=${temp.path}/etc/work overlay /etc`,
      `mkdir -p /etc/nydus-gd && cp ${temp.path}/settings.toml /etc/nydus-gd/settings.toml`,
    ];
    await Deno.mkdir(temp.join("etc"));
    const { code, stdout, stderr } = await run(["setup", "--dry-run"], { within: inNamespace(etc.join(" && ")) });
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /3 images and all containers of overlay2 stay in \/var\/lib\/docker/);
    const slip = [...etc, "echo 'dokcer = 1' >/etc/nydus-gd/settings.toml"].join(" && ");
    await fails(["setup", "--dry-run"], /settings\.toml: line 1: dokcer is not known/, /edit/, {
      within: inNamespace(slip),
    });
    const undone = await run(["setup", "--undo", "--yes"], { within: inNamespace(slip) });
    assert.deepEqual([undone.code, undone.stdout], [0, "Nothing to undo: setup has changed nothing here.\n"]);
  },
);

Deno.test(
  {
    name: "a Docker whose images are in containerd is told that only its containers are hidden",
    ignore: containerdMissing !== undefined,
  },
  async () => {
    using temp = TempDir.make();
    const docker = plainDocker();
    Object.assign(docker.info, {
      Driver: "overlayfs",
      DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]],
    });
    await using _docker = serveFakeDocker(temp.join("docker.sock"), docker);
    const features = `mount -t tmpfs tmpfs /etc/docker && echo '{"features":{"containerd-snapshotter":true}}' >`;
    const words = ["--dry-run", "--target", "containerd", "--docker-host", `unix://${temp.join("docker.sock")}`];
    const within = inNamespace(`mkdir -p /etc/docker && ${features}/etc/docker/daemon.json`);
    const { code, stdout, stderr } = await run(["setup", ...words], { within });
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /Docker keeps its images in containerd.* All containers of overlayfs stay,/);
    assert.doesNotMatch(stdout, /3 images/);
  },
);

Deno.test("where the record of setup is damaged, undo says so with a status of its own", async () => {
  using machine = makeMachine();
  const words = ["setup", "--yes", "--prefix", machine.host.prefix];
  assert.equal((await run(words)).code, 0);
  machine.write("/var/lib/nydus-gd/setup/record.json", "{");
  const tree = machine.tree();
  await fails([...words, "--undo"], /cannot read .*record\.json/, /put the files of .*backup back by hand/, {
    code: 3,
  });
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("setup can be finished or undone after a kill at any moment", async () => {
  const moments = [
    "/var/lib/nydus-gd/setup/record.json",
    "/etc/systemd/system/nydus-gd.service",
    "/etc/systemd/system/docker.service.d",
  ];
  for (const [index, path] of moments.entries()) {
    using machine = makeMachine();
    const tree = machine.tree();
    const words = ["setup", "--yes", "--prefix", machine.host.prefix];
    const [program, ...args] = commandLine(words);
    const child = new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
    let ended = false;
    child.status.then(() => ended = true);
    while (!ended && await ignoreMissing(Deno.errors.NotFound, Deno.lstat(machine.host.at(path))) === undefined);
    if (!ended) child.kill("SIGKILL");
    await child.status;
    if (index % 2 === 0) {
      assert.equal((await run(words)).code, 0);
      assert.match(machine.read(DAEMON_JSON), /"storage-driver": "nydus-gd"/);
    }
    assert.equal((await run([...words, "--undo"])).code, 0);
    assert.deepEqual(machine.tree(), tree);
  }
});
