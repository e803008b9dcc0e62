import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { parse as parseToml } from "smol-toml";
import { PrefixMachine } from "../../tests/support/machine/setup_prefix.ts";
import { NydusGdError } from "../base/errors.ts";
import { apply, withSetupLock } from "./apply.ts";
import { isEmpty, type Plan, planSetup } from "./plan.ts";
import { planUndo, undo } from "./undo.ts";
import type { SetupTarget } from "./target_plan.ts";
import { CONTAINERD_DROP_IN_PATH, DROP_IN_PATH, UNIT_PATH } from "./unit_files.ts";

const { signal } = new AbortController();
const DAEMON_JSON = "/etc/docker/daemon.json";
const CONFIG = "/etc/containerd/config.toml";
const SOCKET = "/run/nydus-gd/snapshotter.sock";

function plan(machine: PrefixMachine, named: SetupTarget | "none" = "containerd"): Promise<Plan> {
  const target = named === "none" ? undefined : named;
  return planSetup({ host: machine.host, command: ["/usr/bin/nydus-gd"], force: false, target }, signal);
}

async function setUp(machine: PrefixMachine, target?: SetupTarget | "none"): Promise<void> {
  await withSetupLock(machine.host, async () => apply(machine.host, await plan(machine, target), () => {}, signal));
}

async function undoSetup(machine: PrefixMachine): Promise<string> {
  const planned = await planUndo({ host: machine.host, force: false }, signal);
  await withSetupLock(machine.host, () => undo(machine.host, planned, () => {}, signal));
  return planned.notes.join("\n");
}

/** The proxy plugin as containerd reads it. */
function registered(machine: PrefixMachine): unknown {
  const { proxy_plugins: plugins } = JSON.parse(JSON.stringify(parseToml(machine.read(CONFIG))));
  return plugins["nydus-gd"];
}

const REGISTERED = {
  type: "snapshot",
  address: SOCKET,
  exports: { enable_remote_snapshot_annotations: "true", root: "/var/lib/nydus-gd/snapshotter" },
};

/** Configurations to which the table is appended. */
const CONFIGS: readonly (string | undefined)[] = [
  undefined,
  "",
  "\n",
  'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
  "version = 3 # mine\n\n[plugins]\n  [plugins.'io.containerd.cri.v1.images']\n    snapshotter = 'overlayfs'",
  'version = 2\r\n[proxy_plugins]\r\n  [proxy_plugins.stargz]\r\n    type = "snapshot"\r\n    address = "/s"\r\n',
  'disabled_plugins = ["cri"]\n',
  'imports = ["/etc/containerd/conf.d/*.toml", "gone/*.toml"]\nversion = 3\n',
];

Deno.test("containerd's configuration is appended to, a second run changes nothing, and undo restores it", async () => {
  for (const config of CONFIGS) {
    using machine = new PrefixMachine();
    machine.hasContainerd(config);
    const tree = machine.tree();
    await setUp(machine);
    assert.deepEqual(registered(machine), REGISTERED);
    assert.ok(machine.read(CONFIG).startsWith(config ?? "version = 2\n"));
    assert.match(machine.read(UNIT_PATH), new RegExp(`^ExecStart=\\S+ serve --snapshotter-socket ${SOCKET}$`, "m"));
    assert.match(machine.read(UNIT_PATH), /^Before=containerd\.service docker\.service$/m);
    assert.match(machine.read(CONTAINERD_DROP_IN_PATH), /^Wants=nydus-gd\.service\nAfter=nydus-gd\.service$/m);
    assert.throws(() => machine.read(DROP_IN_PATH), Deno.errors.NotFound);
    assert.throws(() => machine.read(DAEMON_JSON), Deno.errors.NotFound);
    assert.ok(isEmpty(await plan(machine)));
    assert.match(await undoSetup(machine), /^Cache, state and snapshots stay in \/var\/lib\/nydus-gd/);
    assert.deepEqual(machine.tree(), tree);
  }
});

Deno.test("a Docker without graph drivers is set up to keep its images in containerd, without being told so", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("28.5.2");
  machine.hasContainerd();
  machine.write(DAEMON_JSON, '{\n  "features": {"buildkit": true},\n  "debug": true\n}\n');
  const tree = machine.tree();
  await setUp(machine, "none");
  assert.deepEqual(JSON.parse(machine.read(DAEMON_JSON)), {
    features: { buildkit: true, "containerd-snapshotter": true },
    debug: true,
    "storage-driver": "nydus-gd",
  });
  assert.deepEqual(registered(machine), REGISTERED);
  assert.ok(isEmpty(await plan(machine, "none")));
  await undoSetup(machine);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("edits of both files since setup are kept by undo", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("28.5.2");
  machine.hasContainerd("version = 2");
  machine.write(DAEMON_JSON, '{"features": {"a": true}}');
  await setUp(machine);
  machine.write(CONFIG, `${machine.read(CONFIG)}[debug]\nlevel = "debug"\n`);
  const json = JSON.parse(machine.read(DAEMON_JSON));
  json.features.b = true;
  machine.write(DAEMON_JSON, JSON.stringify(json));
  assert.ok(isEmpty(await plan(machine)));
  const notes = await undoSetup(machine);
  assert.equal(machine.read(CONFIG), 'version = 2\n[debug]\nlevel = "debug"\n');
  assert.deepEqual(JSON.parse(machine.read(DAEMON_JSON)), { features: { a: true, b: true } });
  assert.match(notes, /config\.toml was edited since: ours is removed, the rest is kept/);
});

Deno.test("lines of ours that were edited since are left by undo, which says so", async () => {
  using machine = new PrefixMachine();
  machine.hasContainerd("version = 2\n");
  await setUp(machine);
  const mine = machine.read(CONFIG).replace("# Added by nydus-gd setup.", "# mine");
  machine.write(CONFIG, mine);
  assert.ok(isEmpty(await plan(machine)));
  assert.match(await undoSetup(machine), /the lines that setup added were changed since/);
  assert.equal(machine.read(CONFIG), mine);
});

Deno.test("a snapshotter that somebody has registered is neither registered again nor removed", async () => {
  const table = `[proxy_plugins."nydus-gd"]\ntype = "snapshot"\naddress = "${SOCKET}"\n`;
  for (const isImported of [false, true]) {
    using machine = new PrefixMachine();
    machine.hasContainerd(isImported ? 'version = 2\nimports = ["conf.d/*.toml"]\n' : `version = 2\n${table}`);
    if (isImported) machine.write("/etc/containerd/conf.d/lazy.toml", table);
    const tree = machine.tree();
    const before = machine.read(CONFIG);
    await setUp(machine);
    assert.equal(machine.read(CONFIG), before);
    await undoSetup(machine);
    assert.deepEqual(machine.tree(), tree);
  }
});

/** The table as nerdctl needs it. */
const NAMED_NYDUS = `[proxy_plugins.nydus]\ntype = "snapshot"\naddress = "${SOCKET}"\n`;

Deno.test("a snapshotter that somebody has given another name is used by that name", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("29.7.2");
  const cri = '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "nydus"\n';
  machine.hasContainerd(`version = 2\n${NAMED_NYDUS}${cri}`);
  const [tree, before] = [machine.tree(), machine.read(CONFIG)];
  assert.match((await plan(machine)).notes.join(), /keeps from nydus what it prepares/);
  await setUp(machine, "none");
  assert.equal(machine.read(CONFIG), before);
  assert.equal(JSON.parse(machine.read(DAEMON_JSON))["storage-driver"], "nydus");
  assert.ok(isEmpty(await plan(machine)));
  await undoSetup(machine);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("a snapshotter that was given another name since setup is used by that name", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("29.7.2");
  machine.hasContainerd();
  await setUp(machine, "none");
  machine.write(CONFIG, machine.read(CONFIG).replaceAll("proxy_plugins.nydus-gd", "proxy_plugins.nydus"));
  const renamed = machine.read(CONFIG);
  await setUp(machine, "none");
  assert.equal(machine.read(CONFIG), renamed);
  assert.equal(JSON.parse(machine.read(DAEMON_JSON))["storage-driver"], "nydus");
  assert.match(machine.read(UNIT_PATH), /--snapshotter-socket/);
  assert.ok(isEmpty(await plan(machine)));
});

Deno.test("a Docker that got a new version is set up for that, and undo restores what was before the first", async () => {
  using machine = new PrefixMachine();
  machine.hasContainerd();
  machine.hasDocker("28.5.2");
  machine.write(DAEMON_JSON, '{"debug":true}');
  const tree = machine.tree();
  machine.hasDocker("26.1.5");
  await setUp(machine, "none");
  assert.deepEqual(JSON.parse(machine.read(DAEMON_JSON)), {
    debug: true,
    "storage-driver": "nydus-gd",
    experimental: true,
  });
  machine.hasDocker("28.5.2");
  await setUp(machine, "none");
  assert.deepEqual(JSON.parse(machine.read(DAEMON_JSON)), {
    debug: true,
    "storage-driver": "nydus-gd",
    features: { "containerd-snapshotter": true },
  });
  assert.ok(isEmpty(await plan(machine, "none")));
  await undoSetup(machine);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("Docker and containerd can be set up side by side", async () => {
  using machine = new PrefixMachine();
  machine.hasDocker("26.1.5");
  machine.hasContainerd();
  const tree = machine.tree();
  await setUp(machine, "containerd");
  assert.throws(() => machine.read(DAEMON_JSON), Deno.errors.NotFound);
  assert.match((await plan(machine)).notes.join(), /Docker 26\.1\.5 keeps its own storage drivers/);
  await setUp(machine, "docker");
  assert.match(machine.read(UNIT_PATH), /--snapshotter-socket/);
  for (const target of ["docker", "containerd"] as const) assert.ok(isEmpty(await plan(machine, target)));
  await undoSetup(machine);
  assert.deepEqual(machine.tree(), tree);
});

Deno.test("a Kubernetes that would tell the snapshotter nothing is pointed out", async () => {
  const v2 = '[plugins."io.containerd.grpc.v1.cri".containerd]\nsnapshotter = "nydus-gd"\n';
  const v3 = "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'nydus-gd'\ndisable_snapshot_annotations = true\n";
  const cases: [config: string, isNamed: boolean][] = [
    [v2, true],
    [v3, true],
    [`${v2}disable_snapshot_annotations = false\n`, false],
    [v2.replace("nydus-gd", "overlayfs"), false],
  ];
  for (const [config, isNamed] of cases) {
    using machine = new PrefixMachine();
    machine.hasContainerd(config);
    assert.equal(
      /Kubernetes: plugins\..* What it needs: disable_snapshot_annotations = false/.test(
        (await plan(machine)).notes.join(),
      ),
      isNamed,
      config,
    );
  }
});

const CONTAINERD = "/usr/bin/containerd";
Deno.test({
  name: "a Kubernetes whose table the installed containerd does not read is pointed out, with the one that it reads",
  ignore: !existsSync(CONTAINERD), // 1.6 or 1.7; tests/e2e/setup_docker_28_test.ts has 2.1
  async fn() {
    const keys = 'snapshotter = "nydus-gd"\ndisable_snapshot_annotations = false\n';
    const of1 = `version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n${keys}`;
    const of2 = `version = 2\n[plugins."io.containerd.cri.v1.images"]\n${keys}`;
    const notes = [];
    for (const config of [of1, of2]) {
      using machine = new PrefixMachine();
      machine.hasContainerd(config);
      // beside another, which does not print anything: that of the unit counts
      machine.write("/lib/systemd/system/containerd.service", "[Service]\nExecStart=-/opt/bin/containerd -l info\n");
      await Deno.mkdir(machine.host.at("/opt/bin"), { recursive: true });
      await Deno.symlink(CONTAINERD, machine.host.at("/opt/bin/containerd"));
      notes.push((await plan(machine)).notes.filter((note) => note.startsWith("Kubernetes")).join());
    }
    assert.equal(notes[0], "");
    assert.match(
      notes[1] ?? "",
      /containerd ignores plugins\."io\.containerd\.cri\.v1\.images" in .*: Kubernetes is on overlayfs, .* needs: \[plugins\."io\.containerd\.grpc\.v1\.cri"\.containerd\] with snapshotter = "nydus-gd"/,
    );
  },
});

Deno.test("obstacles in containerd's configuration are refused by name before anything is changed", async () => {
  const elsewhere = '[proxy_plugins.nydus-gd]\ntype = "snapshot"\naddress = "/run/other.sock"\n';
  const cases: [config: string, message: RegExp][] = [
    [
      elsewhere,
      /\/etc\/containerd\/config\.toml has a proxy plugin nydus-gd of type "snapshot" at "\/run\/other\.sock"/,
    ],
    [elsewhere.replace("/run/other.sock", SOCKET).replace('"snapshot"', '"content"'), /of type "content"/],
    ["version = 2\nplugins = [\n", /Cannot read \/etc\/containerd\/config\.toml: line \d+: /],
    [
      [NAMED_NYDUS, NAMED_NYDUS.replace("nydus]", "nydus-gd]")].join("\n"),
      /proxy_plugins\.nydus leads to .*\.sock as well/,
    ],
    [
      `disabled_plugins = ["io.containerd.snapshotter.v1.nydus"]\n${NAMED_NYDUS}`,
      /disabled_plugins in .* has io\.containerd\.snapshotter\.v1\.nydus$/,
    ],
    ['proxy_plugins = "none"\n', /proxy_plugins is not what containerd expects there/],
    ["proxy_plugins = {}\n", /proxy_plugins in .* is written so that nothing can be appended to it/],
    [
      'disabled_plugins = ["io.containerd.snapshotter.v1.nydus-gd"]\n',
      /disabled_plugins in .* has io\.containerd\.snapshotter\.v1\.nydus-gd/,
    ],
    ['imports = ["conf.d/*.toml"]\n', /\/etc\/containerd\/conf\.d\/b\.toml has a proxy plugin nydus-gd/],
  ];
  for (const [config, message] of cases) {
    using machine = new PrefixMachine();
    machine.hasContainerd(config);
    machine.write("/etc/containerd/conf.d/a.toml", 'imports = ["/etc/containerd/config.toml"]\n');
    machine.write("/etc/containerd/conf.d/b.toml", elsewhere);
    await refuses(machine, message);
  }
});

Deno.test("a Docker that cannot take its images from containerd is refused by name", async () => {
  const unit = (flags: string) => (machine: PrefixMachine) =>
    machine.write("/lib/systemd/system/docker.service", `[Service]\nExecStart=/usr/bin/dockerd ${flags}\n`);
  const masked = (service: string) => (machine: PrefixMachine) => {
    Deno.mkdirSync(machine.host.at("/etc/systemd/system"), { recursive: true });
    Deno.symlinkSync("/dev/null", machine.host.at(`/etc/systemd/system/${service}`));
  };
  const cases: [make: (machine: PrefixMachine) => void, message: RegExp][] = [
    [masked("containerd.service"), /^Cannot set up containerd\.service: it is masked/],
    [masked("docker.service"), /^Cannot set up docker\.service: it is masked/],
    [unit("--containerd=/run/mine.sock"), /docker\.service line 2 has Docker use the containerd at \/run\/mine\.sock/],
    [unit("--feature x=true"), /docker\.service line 2 sets features/],
    [unit("-s overlayfs"), /docker\.service line 2 names the storage driver overlayfs/],
    [(machine) => machine.write(DAEMON_JSON, '{"features": [1]}'), /features in .* line 1 are not names/],
    [
      (machine) => Deno.removeSync(machine.host.at("/lib/systemd/system/containerd.service")),
      /Docker 28\.5\.2: there is no containerd\.service/,
    ],
  ];
  for (const [make, message] of cases) {
    using machine = new PrefixMachine();
    machine.hasDocker("28.5.2");
    machine.hasContainerd();
    make(machine);
    await refuses(machine, message);
  }
});

async function refuses(machine: PrefixMachine, message: RegExp): Promise<void> {
  const tree = machine.tree();
  await assert.rejects(plan(machine), (error) => {
    assert.ok(error instanceof NydusGdError, String(error));
    assert.match(error.message, message);
    assert.ok(error.hint);
    return true;
  });
  assert.deepEqual(machine.tree(), tree);
}
