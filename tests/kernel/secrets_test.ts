/**
 * What other users of the machine can see of a `serve`: file modes whatever the umask, and no secret anywhere, at any
 * log level.
 *
 * @module
 */
import assert from "node:assert/strict";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { FakeRegistry } from "../support/backend/fake_registry.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { type GraphDriverProcess, RemoteError } from "../support/serve/graph_driver_process.ts";
import { LAZY_IMAGE, LazyServe } from "../support/serve/lazy_serve.ts";
import { RAFS_FIXTURES, readFixtureBootstrap } from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";

const USER = "alice";
const PASSWORD = "open-sesame-1f8e";
const ANY_UMASK = ["sh", "-c", 'umask 000; exec "$@"', "sh"];

/** A `serve` that got a lazy image from a registry that requires a login. */
interface Parts {
  readonly driver: GraphDriverProcess;
  readonly registry: FakeRegistry;
  readonly scratch: string;
  /** The container's root. */
  readonly root: string;
  readonly logPath: string;
}

/** Where the password is configured. */
type Source = "nydusd" | "docker";

async function withServe(source: Source, auth: "basic" | "bearer", test: (parts: Parts) => Promise<void>) {
  using temp = TempDir.make();
  await using registry = await FakeRegistry.start({ auth, user: USER, password: PASSWORD });
  for (const { id } of openBootstrap(await readFixtureBootstrap(LAZY_IMAGE)).blobs) {
    registry.addBlob(await Deno.readFile(`${RAFS_FIXTURES}/blobs/${id}`));
  }
  const credential = btoa(`${USER}:${PASSWORD}`);
  const backend = {
    type: "registry",
    config: { host: registry.host, repo: "app", scheme: "http", ...(source === "nydusd" ? { auth: credential } : {}) },
  };
  await Deno.mkdir(temp.join("client"));
  const auths = source === "docker" ? { [registry.host]: { auth: credential } } : {};
  await Deno.writeTextFile(temp.join("client/config.json"), JSON.stringify({ auths }));
  const logPath = temp.join("log");
  const env = {
    DOCKER_CONFIG: temp.join("client"),
    NYDUS_GD_FETCH_RETRIES: "1",
    NYDUS_GD_PREFETCH_READ_AHEAD: "0",
  };
  const options = { within: ANY_UMASK, env, logLevel: "trace", logPath };
  await using serve = await LazyServe.start(temp.path, { ...options, backend });
  await test({ driver: serve.driver, root: serve.root, registry, scratch: temp.path, logPath });
}

/** Everything below a folder, not through mounts. */
function* below(folder: string, device = Deno.lstatSync(folder).dev): Generator<[path: string, info: Deno.FileInfo]> {
  for (const { name } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    const info = Deno.lstatSync(path);
    if (info.dev !== device) continue;
    yield [path, info];
    if (info.isDirectory) yield* below(path, device);
  }
}

const modeOf = (info: Deno.FileInfo) => (info.mode ?? 0) & 0o777;

fuseTest(
  "sockets are 0600 and folders 0700, whatever the umask",
  () =>
    withServe("docker", "basic", async ({ scratch, root, driver }) => {
      await Deno.readFile(`${root}/lib/mod01.txt`);
      await driver.call("GraphDriver.Create", { ID: "next", Parent: "box" });
      const wrong: string[] = [];
      const expect = (path: string, info: Deno.FileInfo, mode: number) => {
        if (modeOf(info) !== mode) wrong.push(`${path}: 0${modeOf(info).toString(8)}, expected 0${mode.toString(8)}`);
      };
      for (const name of ["gd.sock", "root.admin.sock"]) {
        const info = Deno.lstatSync(`${scratch}/${name}`);
        assert.ok(info.isSocket);
        expect(name, info, 0o600);
      }
      for (const name of ["root", "home"]) expect(name, Deno.lstatSync(`${scratch}/${name}`), 0o700);
      for (const [path, info] of below(`${scratch}/root`)) {
        if (!info.isSymlink) expect(path, info, info.isDirectory ? 0o700 : 0o600);
      }
      // layers have the modes of overlay2; nobody else gets past the home, and nobody else may write
      for (const [path, info] of below(`${scratch}/home`)) {
        const own = path.slice(`${scratch}/home/`.length);
        if (/^(l|\.making|\.removing)$/.test(own)) expect(path, info, 0o700);
        else if (/^[^/]+\/(link|lower|apply|committed|layer\.json)$/.test(own) && (modeOf(info) & 0o022) !== 0) {
          wrong.push(`${path}: others may write`);
        }
      }
      assert.deepEqual(wrong, []);
    }),
);

/** Everything that a daemon shows, by its source. */
async function outputsOf({ driver, scratch, logPath }: Parts): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const client = Deno.createHttpClient({ proxy: { transport: "unix", path: `${scratch}/root.admin.sock` } });
  try {
    for (const path of ["/metrics", "/v1/status", "/healthz", "/v1/nothing"]) {
      found.set(path, await (await fetch(`http://admin${path}`, { client })).text());
    }
  } finally {
    client.close();
  }
  found.set("log", await Deno.readTextFile(logPath));
  found.set("command line", await Deno.readTextFile(`/proc/${driver.pid}/cmdline`));
  for (const verb of ["Status", "GetMetadata"]) {
    found.set(verb, JSON.stringify(await driver.call(`GraphDriver.${verb}`, { ID: "box" })));
  }
  for (const folder of ["root", "home"]) {
    for (const [path, info] of below(`${scratch}/${folder}`)) {
      if (info.isFile) found.set(path, new TextDecoder("latin1").decode(await Deno.readFile(path)));
    }
  }
  return found;
}

for (const [source, auth] of [["nydusd", "basic"], ["nydusd", "bearer"], ["docker", "bearer"]] as const) {
  fuseTest(
    `a password of ${source}'s configuration, sent by ${auth}, is not shown anywhere`,
    () =>
      withServe(source, auth, async (parts) => {
        const { driver, registry, root } = parts;
        await Deno.readFile(`${root}/lib/mod01.txt`);
        registry.changePassword("another");
        await assert.rejects(Deno.readFile(`${root}/lib/mod02.txt`));
        await driver.call("GraphDriver.Put", { ID: "box" });
        await registry.goDown();
        const refusals: unknown[] = [];
        for (const [verb, request] of [["Get", { ID: "nothing" }], ["Diff", { ID: "nothing" }]] as const) {
          await assert.rejects(driver.call(`GraphDriver.${verb}`, request), (error) => {
            refusals.push(error);
            return error instanceof RemoteError;
          });
        }
        const sent = registry.requests.flatMap(({ headers }) => headers.authorization ?? [])
          .map((value) => String(value).replace(/^\w+ /, ""));
        assert.ok(sent.length > 0, "the registry received a credential");
        const secrets = [...new Set([PASSWORD, btoa(`${USER}:${PASSWORD}`), ...sent])];
        const found = await outputsOf(parts);
        found.set("errors", refusals.map(String).join("\n"));
        assert.match(found.get("log") ?? "", /"level":"(debug|trace)"/i);
        for (const [where, text] of found) {
          for (const secret of secrets) {
            assert.ok(!text.includes(secret), `${where} holds ${secret}: ${text.slice(0, 400)}`);
          }
        }
      }),
  );
}
