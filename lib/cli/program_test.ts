import assert from "node:assert/strict";
import { rename } from "node:fs/promises";
import { NydusGdError } from "../base/errors.ts";
import type { Actions, MountArgs, ServeArgs } from "./actions.ts";
import { runCli } from "./program.ts";

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const never: Required<Actions> = {
  serve: () => Promise.reject(new Error("loaded")),
  mount: () => Promise.reject(new Error("loaded")),
  umount: () => Promise.reject(new Error("loaded")),
  status: () => Promise.reject(new Error("loaded")),
  check: () => Promise.reject(new Error("loaded")),
  inspect: () => Promise.reject(new Error("loaded")),
  unpack: () => Promise.reject(new Error("loaded")),
  setup: () => Promise.reject(new Error("loaded")),
  doctor: () => Promise.reject(new Error("loaded")),
  convert: () => Promise.reject(new Error("loaded")),
  pull: () => Promise.reject(new Error("loaded")),
  gc: () => Promise.reject(new Error("loaded")),
  demo: () => Promise.reject(new Error("loaded")),
};

async function run(args: string[], actions: Actions = never, signal = new AbortController().signal): Promise<Outcome> {
  const text = { stdout: "", stderr: "" };
  const output = (name: keyof typeof text) => ({
    isTerminal: false,
    write: (more: string) => void (text[name] += more),
  });
  const exitCode = await runCli(args, { actions, stdout: output("stdout"), stderr: output("stderr"), signal });
  return { exitCode, ...text };
}

Deno.test("every command has a help text with an example, which loads no action", async () => {
  for (const command of [...Object.keys(never), "version", "completion"]) {
    const { exitCode, stdout, stderr } = await run([command, "--help"]);
    assert.equal(exitCode, 0);
    assert.match(stdout, new RegExp(`^Usage: nydus-gd ${command} `));
    assert.match(stdout, /\nExamples?:\n {2}\$ /);
    const finds = ["check", "doctor", "setup"].includes(command) ? ", 3 findings" : "";
    assert.ok(stdout.endsWith(`\nExit status: 0 done, 1 failed, 2 wrong usage${finds}, 130 interrupted.\n\n`), stdout);
    assert.match(stdout, /--log-level/);
    assert.equal(stderr, "");
  }
});

Deno.test("a help text fits on a terminal of 80 columns, and says no flag is false by default", async () => {
  for (const command of [[], ...Object.keys(never).map((name) => [name]), ["version"], ["completion"]]) {
    const { stdout } = await run([...command, "--help"]);
    assert.deepEqual(stdout.split("\n").filter((line) => line.length > 80), []);
    assert.doesNotMatch(stdout, /default:\s+false/);
  }
});

Deno.test("the help without a command has a line for each command, and fits on a screen", async () => {
  const { stdout } = await run(["--help"]);
  const lines = stdout.split("\n");
  for (const command of [...Object.keys(never), "version", "completion", "help"]) {
    assert.equal(lines.filter((line) => new RegExp(`^ {2}${command} {2,}[A-Z]`).test(line)).length, 1, command);
  }
  assert.ok(lines.length < 45, String(lines.length));
});

Deno.test("a command without an action is not offered", async () => {
  const { stdout } = await run(["--help"], {});
  assert.doesNotMatch(stdout, /^ {2}(serve|mount|umount|demo)\b/m);
  assert.equal((await run(["mount", "a", "b"], {})).exitCode, 2);
});

Deno.test("running without a command shows the help on standard error and exits 2", async () => {
  const { exitCode, stdout, stderr } = await run([]);
  assert.equal(exitCode, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Usage: nydus-gd /);
});

Deno.test("the command help shows what --help shows, and is wrong usage for an unknown command", async () => {
  for (const command of [[], ["mount"]]) {
    const asked = await run(["help", ...command]);
    assert.deepEqual(asked, await run([...command, "--help"]));
    assert.equal(asked.exitCode, 0);
  }
  assert.equal((await run(["help", "mout"])).exitCode, 2);
});

Deno.test("wrong usage exits 2 with one line and a hint", async () => {
  const cases: [args: string[], state: string, hint: string][] = [
    [["mout", "a", "b"], "unknown command 'mout'", "did you mean mount?"],
    [["stauts", "--help"], "unknown command 'stauts'", "did you mean status?"],
    [["help", "stauts"], "unknown command 'stauts'", "did you mean status?"],
    [["mount", "a", "b", "--blobdir", "x"], "unknown option '--blobdir'", "did you mean --blob-dir?"],
    [["--log-levl", "info", "version"], "unknown option '--log-levl'", "did you mean --log-level?"],
    [["mount", "a"], "missing required argument 'dir'", "nydus-gd mount --help"],
    [["umount", "a", "b"], "too many arguments for 'umount'. Expected 1 argument but got 2", "nydus-gd umount --help"],
    [
      ["serve", "--fs-driver", "fuze"],
      "option '--fs-driver <name>' argument 'fuze' is invalid. " +
      "Allowed choices are auto, erofs-fanotify, erofs-fuse, erofs-fscache, fuse",
      "nydus-gd serve --help",
    ],
    [
      ["mount", "a", "b", "--blob-dir", "x", "--config", "y"],
      "option '--blob-dir <dir>' cannot be used with option '--config <file>'",
      "nydus-gd mount --help",
    ],
    [
      ["mount", "a", "b", "\x1b[2J\n"],
      "too many arguments for 'mount'. Expected 2 arguments but got 3",
      "nydus-gd mount --help",
    ],
    [["\x1b[2J"], "unknown command '\\x1b[2J'", "nydus-gd --help"],
  ];
  for (const [args, state, hint] of cases) {
    assert.deepEqual(await run(args), {
      exitCode: 2,
      stdout: "",
      stderr: `nydus-gd: cannot read the command line: ${state}\nhint: ${hint}\n`,
    });
  }
});

Deno.test("serve gets its defaults, and knows which files were given explicitly", async () => {
  const seen: ServeArgs[] = [];
  const actions: Actions = { serve: () => Promise.resolve((args) => Promise.resolve(void seen.push(args))) };
  assert.equal((await run(["serve"], actions)).exitCode, 0);
  assert.equal((await run(["serve", "--config", "/x", "--fs-driver", "fuse"], actions)).exitCode, 0);
  const defaults = {
    root: "/var/lib/nydus-gd",
    config: { path: "/var/lib/nydus/config.json", explicit: false },
    settings: { path: "/etc/nydus-gd/settings.toml", explicit: false },
    socket: "/run/docker/plugins/nydus-gd.sock",
    adminSocket: "/run/nydus-gd/admin.sock",
  };
  assert.deepEqual(seen, [defaults, { ...defaults, config: { path: "/x", explicit: true }, fsDriver: "fuse" }]);
});

Deno.test("mount gets its arguments, and its result is the exit status", async () => {
  const seen: MountArgs[] = [];
  const actions: Actions = {
    mount: () =>
      Promise.resolve((args) => {
        seen.push(args);
        return Promise.resolve(3);
      }),
  };
  const { exitCode } = await run(["mount", "i.boot", "/mnt", "--blob-dir", "b", "--background"], actions);
  assert.equal(exitCode, 3);
  const settings = { path: "/etc/nydus-gd/settings.toml", explicit: false };
  assert.deepEqual(seen, [{ bootstrap: "i.boot", dir: "/mnt", blobDir: "b", background: true, settings }]);
});

Deno.test("every command that reads images takes the settings file", async () => {
  const seen: unknown[] = [];
  const load = () => Promise.resolve((args: { settings: unknown }) => Promise.resolve(void seen.push(args.settings)));
  const actions: Actions = { pull: load, mount: load, check: load, inspect: load, unpack: load, convert: load };
  for (const words of [["pull", "a"], ["mount", "a", "b"], ["check", "a"], ["inspect", "a"], ["unpack", "a", "b"]]) {
    await run(words, actions);
    await run([...words, "--settings", "x"], actions);
  }
  await run(["convert", "a", "b"], actions);
  await run(["convert", "a", "b", "--settings", "x"], actions);
  const both = [{ path: "/etc/nydus-gd/settings.toml", explicit: false }, { path: "x", explicit: true }];
  assert.deepEqual(seen, Array(6).fill(both).flat());
});

Deno.test("an empty variable counts as unset, and a wrong one is named", async () => {
  const actions: Actions = { demo: () => Promise.resolve(() => Promise.resolve()) };
  for (const name of ["NYDUS_GD_LOG_LEVEL", "NYDUS_GD_LOG_FORMAT"]) {
    try {
      Deno.env.set(name, "");
      assert.deepEqual(await run(["demo"], actions), { exitCode: 0, stdout: "", stderr: "" });
      Deno.env.set(name, "wrong");
      const { exitCode, stderr } = await run(["demo"], actions);
      assert.equal(exitCode, 2);
      assert.match(stderr, new RegExp(`value 'wrong' from env '${name}' is invalid`));
    } finally {
      Deno.env.delete(name);
    }
  }
});

Deno.test("a failure is one line and a hint, whatever the message contains", async () => {
  const failing = (error: unknown): Actions => ({ umount: () => Promise.resolve(() => Promise.reject(error)) });
  const busy = new NydusGdError("busy", 'Cannot unmount "a\nb\x1b[2J": EBUSY', { hint: "fuser -m a" });
  assert.deepEqual(await run(["umount", "a"], failing(busy)), {
    exitCode: 1,
    stdout: "",
    stderr: 'nydus-gd: cannot unmount "a; b\\x1b[2J": EBUSY\nhint: fuser -m a\n',
  });
  assert.deepEqual(await run(["umount", "a"], failing(new TypeError("x is not a function"))), {
    exitCode: 1,
    stdout: "",
    stderr: "nydus-gd: cannot continue: TypeError: x is not a function\n",
  });
  assert.equal((await run(["umount", "a"], failing(new NydusGdError("usage", "Cannot x: y")))).exitCode, 2);
  assert.deepEqual(await run(["umount", "a"], failing(new Deno.errors.BrokenPipe())), {
    exitCode: 141,
    stdout: "",
    stderr: "",
  });
});

Deno.test("a failed system call is reported with call and path, not with the runtime's error", async () => {
  const failing = (work: () => Promise<unknown>): Actions => ({
    umount: () => Promise.resolve(async () => void await work()),
  });
  const file = await Deno.makeTempFile();
  const cases: [() => Promise<unknown>, string][] = [
    [() => Deno.mkdir(file), `cannot mkdir ${file}: file exists`],
    [() => rename(`${file}/a`, file), `cannot rename ${file}/a to ${file}: not a directory`],
    [
      () => Promise.reject(new Error("No space left on device (os error 28)")),
      "cannot continue: no space left on device",
    ],
  ];
  try {
    for (const [work, message] of cases) {
      assert.deepEqual(await run(["umount", "a"], failing(work)), {
        exitCode: 1,
        stdout: "",
        stderr: `nydus-gd: ${message}\n`,
      });
    }
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("the stack of a failure is shown only at log level debug", async () => {
  const actions: Actions = { demo: () => Promise.resolve(() => Promise.reject(new Error("Cannot x: y"))) };
  assert.doesNotMatch((await run(["demo"], actions)).stderr, /program_test/);
  assert.match((await run(["--log-level", "debug", "demo"], actions)).stderr, /program_test/);
});

Deno.test("an interrupted action that fails exits 130, one that completes exits 0", async () => {
  const interrupted = AbortSignal.abort(new NydusGdError("interrupted", "Cannot finish: interrupted by SIGINT"));
  const gives = (end: "throws" | "returns"): Actions => ({
    demo: () =>
      Promise.resolve((_args, { signal }) =>
        end === "throws" ? Promise.reject(signal.reason) : Promise.resolve(undefined)
      ),
  });
  assert.deepEqual(await run(["demo"], gives("throws"), interrupted), {
    exitCode: 130,
    stdout: "",
    stderr: "nydus-gd: cannot finish: interrupted by SIGINT\n",
  });
  assert.equal((await run(["demo"], gives("returns"), interrupted)).exitCode, 0);
});

Deno.test("SIGINT aborts the action, and the process exits 130 after cleaning up", async () => {
  const script = `
    import { runCli } from "${new URL("program.ts", import.meta.url)}";
    const demo = async (_args, { signal, stdout }) => {
      const alive = setInterval(() => {}, 1000);
      const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      stdout.write("ready\\n");
      await aborted;
      clearInterval(alive);
      stdout.write("clean\\n");
      throw signal.reason;
    };
    Deno.exit(await runCli(["demo"], { actions: { demo: () => Promise.resolve(demo) } }));`;
  const folder = await Deno.makeTempDir();
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--config", new URL("../../deno.json", import.meta.url).pathname, script],
    stdout: "piped",
    stderr: "piped",
    cwd: folder,
  }).spawn();
  const stderr = new Response(child.stderr).text();
  let stdout = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += text;
    if (text === "ready\n") child.kill("SIGINT");
  }
  assert.equal((await child.status).code, 130);
  assert.equal(stdout, "ready\nclean\n");
  assert.equal(await stderr, "nydus-gd: cannot finish: interrupted by SIGINT\n");
  await Deno.remove(folder);
});

Deno.test("version prints text, or one JSON document", async () => {
  assert.match((await run(["version"])).stdout, /^nydus-gd \d+\.\d+\.\d+\S* \(deno /);
  const facts = JSON.parse((await run(["version", "-o", "json"])).stdout);
  assert.equal(facts.deno, Deno.version.deno);
});
