import assert from "node:assert/strict";
import { dirname } from "node:path";
import { PrefixMachine } from "../../tests/support/machine/setup_prefix.ts";
import { NydusGdError } from "../base/errors.ts";
import { apply, withSetupLock } from "./apply.ts";
import { writeFileState } from "./file_state.ts";
import { isEmpty, type Plan, planSetup } from "./plan.ts";
import { SetupRecord } from "./record.ts";
import { planUndo, undo } from "./undo.ts";
import { DROP_IN_PATH, UNIT_PATH } from "./unit_files.ts";

const { signal } = new AbortController();
const COMMAND = ["/usr/bin/nydus-gd"];
const DAEMON_JSON = "/etc/docker/daemon.json";

function plan(machine: PrefixMachine, { force = false, command = COMMAND } = {}): Promise<Plan> {
  return planSetup({ host: machine.host, command, force }, signal);
}

async function setUp(machine: PrefixMachine, options = {}): Promise<void> {
  await withSetupLock(machine.host, async () => apply(machine.host, await plan(machine, options), () => {}, signal));
}

async function undoSetup(machine: PrefixMachine, force = false): Promise<readonly string[]> {
  const planned = await planUndo({ host: machine.host, force }, signal);
  await withSetupLock(machine.host, () => undo(machine.host, planned, () => {}, signal));
  return planned.notes;
}

async function refuses(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof NydusGdError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(error.hint);
    return true;
  });
}

/** Ways to write a daemon.json, and the expected results. */
const FILES: readonly (readonly [before: string | undefined, after: string])[] = [
  [undefined, '{\n    "storage-driver": "nydus-gd",\n    "experimental": true\n}\n'],
  ["", '{\n    "storage-driver": "nydus-gd",\n    "experimental": true\n}\n'],
  ["{}", '{\n    "storage-driver": "nydus-gd",\n    "experimental": true\n}'],
  [
    '{\n\t"storage-driver": "overlay2",\n\t"dns": ["1.1.1.1"]\n}\n',
    '{\n\t"storage-driver": "nydus-gd",\n\t"dns": ["1.1.1.1"],\n\t"experimental": true\n}\n',
  ],
  [
    '{"live-restore":true,"experimental":false}',
    '{"live-restore":true,"experimental":true,"storage-driver":"nydus-gd"}',
  ],
  [
    '{\n  "storage-opts": ["overlay2.size=5G"],\n  "log-opts": {"max-size": "1m"}\n}\n',
    '{\n  "log-opts": {"max-size": "1m"},\n  "storage-driver": "nydus-gd",\n  "experimental": true\n}\n',
  ],
  [
    '{ "experimental": true, "storage-driver": "nydus-gd" }\n',
    '{ "experimental": true, "storage-driver": "nydus-gd" }\n',
  ],
];

Deno.test("daemon.json is merged, a second run changes nothing, and undo restores it", async () => {
  for (const [before, after] of FILES) {
    using machine = new PrefixMachine();
    machine.hasDocker("26.1.5");
    if (before !== undefined) machine.write(DAEMON_JSON, before, 0o640);
    const tree = machine.tree();
    await setUp(machine);
    assert.equal(machine.read(DAEMON_JSON), after);
    assert.match(machine.read(UNIT_PATH), /^ExecStart=\/usr\/bin\/nydus-gd serve$/m);
    assert.match(machine.read(DROP_IN_PATH), /^Wants=nydus-gd\.service\nAfter=nydus-gd\.service$/m);
    assert.doesNotMatch(machine.read(DROP_IN_PATH), /Environment/);
    assert.ok(isEmpty(await plan(machine)));
    await undoSetup(machine);
    assert.deepEqual(machine.tree(), tree);
    assert.deepEqual((await planUndo({ host: machine.host, force: false }, signal)).isRecorded, false);
  }
});

Deno.test("a setup interrupted at any moment can be finished or undone", async () => {
  const before = '{\n  "storage-driver": "overlay2"\n}\n';
  for (let step = 0; step < 8; step++) {
    for (const goesOn of [true, false]) {
      using machine = new PrefixMachine();
      machine.hasDocker("27.1.1");
      machine.write(DAEMON_JSON, before);
      const tree = machine.tree();
      // Each change takes two steps, recording and writing: an even number of steps completes both, an odd one only the
      // first.
      const { changes, ...rest } = await plan(machine);
      assert.equal(changes.length, 4);
      await withSetupLock(
        machine.host,
        () => apply(machine.host, { ...rest, changes: changes.slice(0, step >> 1) }, () => {}, signal),
      );
      const half = changes[step >> 1];
      if (step % 2 === 1 && half !== undefined) {
        const record = await SetupRecord.open(machine.host);
        await record.note(half.path, half.before, half.after, half.ourPart);
        await writeFileState(machine.host.at(`${half.path}.nydus-gd-new`), half.after);
      }
      if (goesOn) {
        await setUp(machine);
        assert.match(machine.read(DAEMON_JSON), /"storage-driver": "nydus-gd"/);
        assert.match(machine.read(DROP_IN_PATH), /DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1/);
        assert.ok(isEmpty(await plan(machine)));
      }
      await undoSetup(machine);
      assert.deepEqual(machine.tree(), tree, `step ${step}, ${goesOn}`);
    }
  }
});

Deno.test("an aborted setup reverts its changes, but not those of an earlier one", async () => {
  for (const wasSetUp of [false, true]) {
    for (let step = 1; step <= 4; step++) {
      using machine = new PrefixMachine();
      machine.hasDocker("26.1.5");
      machine.write(DAEMON_JSON, "{}");
      if (wasSetUp) await setUp(machine);
      const tree = machine.tree();
      machine.hasDocker("27.0.0"); // requires another drop-in
      const planned = await plan(machine, { command: ["/opt/nydus-gd"] });
      machine.hasDocker("26.1.5");
      if (step === planned.changes.length) break; // after the last step, nothing follows that could stop
      const controller = new AbortController();
      let steps = 0;
      const progress = () => {
        if (++steps === step) controller.abort();
      };
      const applied = withSetupLock(machine.host, () => apply(machine.host, planned, progress, controller.signal));
      await assert.rejects(applied, { code: "interrupted" });
      assert.deepEqual(machine.tree(), tree);
      assert.equal((await planUndo({ host: machine.host, force: false }, signal)).isRecorded, wasSetUp);
    }
  }
});

Deno.test("a file that cannot be written ends setup, and what was written before it is put back", async () => {
  for (const wasSetUp of [false, true]) {
    using machine = new PrefixMachine();
    machine.hasDocker("26.1.5");
    machine.write(DAEMON_JSON, "{}");
    const folder = dirname(DROP_IN_PATH);
    if (wasSetUp) {
      await setUp(machine);
      Deno.removeSync(machine.host.at(folder), { recursive: true });
    }
    machine.write(folder, "a file where a folder has to be");
    const tree = machine.tree();
    await refuses(
      setUp(machine, { command: ["/opt/nydus-gd"] }),
      "io",
      /Cannot set up: cannot write \S+nydus-gd\.conf: (file exists|not a directory); everything is as it was$/,
    );
    assert.deepEqual(machine.tree(), tree);
    assert.equal((await planUndo({ host: machine.host, force: false }, signal)).isRecorded, wasSetUp);
  }
});

Deno.test("an undo interrupted at any moment is finished by another", async () => {
  for (let step = 0; step <= 4; step++) {
    using machine = new PrefixMachine();
    machine.hasDocker("20.10.24");
    machine.write(DAEMON_JSON, "{}\n");
    const tree = machine.tree();
    await setUp(machine);
    const planned = await planUndo({ host: machine.host, force: false }, signal);
    let steps = 0;
    const stop = () => {
      if (steps++ === step) throw new Error("interrupted");
    };
    await undo(machine.host, planned, stop, signal).catch(() => {});
    await undoSetup(machine);
    assert.deepEqual(machine.tree(), tree);
  }
});

Deno.test("later edits of daemon.json are kept by undo", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(DAEMON_JSON, '{\n  "storage-driver": "overlay2",\n  "debug": true\n}\n');
  await setUp(machine);
  machine.write(DAEMON_JSON, machine.read(DAEMON_JSON).replace('"debug": true', '"debug": false,\n  "mtu": 1400'));
  const notes = await undoSetup(machine);
  assert.equal(machine.read(DAEMON_JSON), '{\n  "storage-driver": "overlay2",\n  "debug": false,\n  "mtu": 1400\n}\n');
  assert.match(notes.join("\n"), /edited since: ours is removed/);
});

Deno.test("a member of ours that was edited since is kept by undo", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(DAEMON_JSON, '{"storage-driver":"overlay2"}');
  await setUp(machine);
  machine.write(DAEMON_JSON, '{"storage-driver":"btrfs","experimental":true}');
  const notes = await undoSetup(machine);
  assert.equal(machine.read(DAEMON_JSON), '{"storage-driver":"btrfs"}');
  assert.match(notes.join("\n"), /storage-driver were changed since/);
});

Deno.test("setup after edits, and then undone, yields the edited file without our members", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(DAEMON_JSON, '{"storage-driver":"overlay2"}');
  await setUp(machine);
  machine.write(DAEMON_JSON, '{"storage-driver":"nydus-gd","mtu":1400}');
  await setUp(machine);
  assert.equal(machine.read(DAEMON_JSON), '{"storage-driver":"nydus-gd","mtu":1400,"experimental":true}');
  await undoSetup(machine);
  assert.equal(machine.read(DAEMON_JSON), '{"storage-driver":"overlay2","mtu":1400}');
});

Deno.test("undo handles a daemon.json that was removed or broken since setup", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(DAEMON_JSON, "{}");
  await setUp(machine);
  machine.write(DAEMON_JSON, '{"experimental": true,}');
  await refuses(undoSetup(machine), "config", /daemon\.json: line 1: expected a name in double quotes/);
  Deno.removeSync(machine.host.at(DAEMON_JSON));
  await undoSetup(machine);
  assert.throws(() => machine.read(DAEMON_JSON), Deno.errors.NotFound);
});

Deno.test("an edited unit is refused, and with --force replaced with a copy kept", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  const tree = machine.tree();
  await setUp(machine);
  machine.write(UNIT_PATH, `${machine.read(UNIT_PATH)}# mine\n`);
  await refuses(plan(machine), "busy", /Cannot replace .*nydus-gd\.service: it was edited since/);
  await refuses(undoSetup(machine), "busy", /it was edited since/);
  await setUp(machine, { force: true });
  assert.doesNotMatch(machine.read(UNIT_PATH), /# mine/);
  assert.match(machine.read(`/var/lib/nydus-gd/setup/edited${UNIT_PATH}`), /# mine/);
  machine.write(UNIT_PATH, "# gone\n");
  await undoSetup(machine, true);
  assert.deepEqual(machine.tree(), tree);
  assert.equal(machine.read(`/var/lib/nydus-gd/setup/edited${UNIT_PATH}`), "# gone\n");
});

Deno.test("another version writes its own unit, and undoing it restores the original state", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(UNIT_PATH, "# somebody's own\n");
  const tree = machine.tree();
  await setUp(machine);
  const command = ['/opt/my $5 "tools"/100%/nydus-gd'];
  await setUp(machine, { command });
  assert.match(machine.read(UNIT_PATH), /^ExecStart="\/opt\/my \$\$5 \\"tools\\"\/100%%\/nydus-gd" serve$/m);
  await undoSetup(machine);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("a daemon.json that is a link stays a link", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write("/srv/daemon.json", '{"mtu":1400}');
  Deno.mkdirSync(machine.host.at("/etc/docker"), { recursive: true });
  Deno.symlinkSync("../../srv/daemon.json", machine.host.at(DAEMON_JSON));
  const tree = machine.tree();
  await setUp(machine);
  assert.match(machine.read("/srv/daemon.json"), /nydus-gd/);
  await undoSetup(machine);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("obstacles are refused before anything is changed", async () => {
  const unit = (flags: string) => (machine: PrefixMachine) =>
    machine.write("/lib/systemd/system/docker.service", `[Service]\nExecStart=/usr/bin/dockerd ${flags}\n`);
  const options = (text: string) => (machine: PrefixMachine) => machine.write("/etc/default/docker", text);
  const json = (text: string) => (machine: PrefixMachine) => machine.write(DAEMON_JSON, text);
  const bytes = (...all: number[]) => (machine: PrefixMachine) => {
    machine.write(DAEMON_JSON, "");
    Deno.writeFileSync(machine.host.at(DAEMON_JSON), Uint8Array.from(all));
  };
  const cases: [make: (machine: PrefixMachine) => void, code: string, message: RegExp][] = [
    [json("{\n  // mine\n}"), "config", /Cannot read \/etc\/docker\/daemon\.json: line 2: it has a comment/],
    [json("\uFEFF{}"), "config", /line 1: it begins with a byte order mark/],
    [bytes(0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d), "config", /Cannot read .*daemon\.json: it is not UTF-8/],
    [
      (machine) => {
        Deno.mkdirSync(machine.host.at("/etc/docker"), { recursive: true });
        Deno.symlinkSync("/srv/gone.json", machine.host.at(DAEMON_JSON));
      },
      "io",
      /daemon\.json: it is a link to \/srv\/gone\.json, which does not exist/,
    ],
    [json('{"a": 1, "a": 2}'), "config", /line 1: it has a second "a"/],
    [
      json('{\n"features": {"containerd-snapshotter": true}}'),
      "unsupported",
      /daemon\.json line 2 has containerd store/,
    ],
    [json('{"storage-opts": "overlay2.size=5G"}'), "config", /storage-opts in .* line 1 is not a list/],
    [unit("--storage-driver=overlay2"), "config", /docker\.service line 2 names the storage driver overlay2/],
    [
      options('#DOCKER_OPTS="-s x"\nDOCKER_OPTS="-s devicemapper"'),
      "config",
      /default\/docker line 2 names .* devicemapper/,
    ],
    [unit("-H fd:// \\\n  --storage-driver btrfs"), "config", /docker\.service line 2 names the storage driver btrfs/],
    [
      (machine) => {
        Deno.mkdirSync(machine.host.at("/etc/systemd/system"), { recursive: true });
        Deno.symlinkSync("/dev/null", machine.host.at("/etc/systemd/system/docker.service"));
      },
      "unsupported",
      /Cannot set up docker\.service: it is masked/,
    ],
    [unit("--experimental=false"), "config", /switches experimental features off/],
    [unit("--storage-opt overlay2.size=5G"), "config", /an option of another storage driver/],
    [
      (machine) => {
        Deno.removeSync(machine.host.at("/lib/systemd/system/docker.service"));
        machine.write("/snap/docker/current/bin/dockerd", "");
      },
      "unsupported",
      /Cannot set up Docker: it is a snap/,
    ],
  ];
  for (const [make, code, message] of cases) {
    using machine = new PrefixMachine();
    machine.hasDocker("26.1.5");
    make(machine);
    const tree = machine.tree();
    await refuses(plan(machine), code, message);
    assert.deepEqual(machine.tree(), tree);
  }
});

Deno.test("options of dockerd's unit are not repeated in daemon.json, which may be elsewhere", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  const flags = "-s nydus-gd --experimental --config-file /etc/my.json";
  machine.write(
    "/etc/systemd/system/docker.service.d/mine.conf",
    `[Service]\nExecStart=\nExecStart=/usr/bin/dockerd ${flags}\n`,
  );
  machine.write("/etc/my.json", '{"mtu":1400}');
  await setUp(machine);
  assert.equal(machine.read("/etc/my.json"), '{"mtu":1400}');
  assert.throws(() => machine.read(DAEMON_JSON), Deno.errors.NotFound);
});

Deno.test("two setups at the same time exclude each other", async () => {
  using machine = new PrefixMachine();
  await withSetupLock(
    machine.host,
    () => refuses(withSetupLock(machine.host, () => Promise.resolve()), "busy", /another nydus-gd setup/),
  );
});

Deno.test("an unreadable record is refused", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.write(DAEMON_JSON, "{}");
  await setUp(machine);
  const record = "/var/lib/nydus-gd/setup/record.json";
  const text = machine.read(record);
  machine.write(record, "{");
  await refuses(undoSetup(machine), "config", /Cannot read .*record\.json/);
  machine.write(record, text);
  const backup = `${machine.host.stateDir}/backup/etc/docker`;
  const [name = ""] = [...Deno.readDirSync(backup)].map((entry) => entry.name);
  Deno.writeTextFileSync(`${backup}/${name}`, "other");
  await refuses(undoSetup(machine), "corrupt", /is not what was put there/);
});
