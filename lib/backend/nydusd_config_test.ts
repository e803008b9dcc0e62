import assert from "node:assert/strict";
import fc from "fast-check";
import { NydusGdError } from "../base/errors.ts";
import { parseNydusdConfig } from "./nydusd_config.ts";

const V1 = {
  device: {
    backend: { type: "registry", config: { host: "h:5000", repo: "r/app", scheme: "https" } },
    cache: { type: "blobcache", config: { work_dir: "/c" } },
  },
  mode: "direct",
};

function v1(change: (config: typeof V1 & Record<string, unknown>) => void): string {
  const copy = structuredClone(V1);
  change(copy);
  return JSON.stringify(copy);
}

function fails(text: string, message: string | RegExp): void {
  assert.throws(
    () => parseNydusdConfig(text),
    (error) => {
      assert.ok(error instanceof NydusGdError);
      assert.equal(error.code, "config");
      if (typeof message === "string") assert.equal(error.message, `Cannot read configuration: ${message}`);
      else assert.match(error.message, message);
      return true;
    },
  );
}

Deno.test("a minimal v1 configuration gets nydusd's defaults", () => {
  const config = parseNydusdConfig(JSON.stringify(V1));
  assert.equal(config.version, 1);
  assert.ok(config.backend.type === "registry");
  assert.equal(config.backend.host, "h:5000");
  assert.equal(config.backend.repo, "r/app");
  assert.equal(config.backend.scheme, "https");
  assert.equal(config.backend.timeoutMs, undefined);
  assert.deepEqual(config.cache, {
    type: "filecache",
    workDir: "/c",
    validate: false,
    compressed: false,
    disableIndexedMap: false,
    encrypted: false,
    convergentEncryption: false,
  });
  assert.deepEqual(config.prefetch, {
    section: "fs_prefetch",
    configured: false,
    enable: false,
    threads: 8,
    batchSizeBytes: 1 << 20,
    bandwidthLimit: 0,
    prefetchAll: true,
    streamPrefetch: false,
  });
  assert.deepEqual(config.warnings, []);
});

Deno.test("v2 is read alike from TOML and JSON", () => {
  const json = {
    version: 2,
    id: "one",
    backend: { type: "localfs", localfs: { dir: "/blobs", alt_dirs: ["/more"] } },
    cache: { type: "filecache", validate: true, filecache: { work_dir: "/c" } },
    rafs: { mode: "direct", batch_size: 4096, prefetch: { enable: true, threads: 2 } },
  };
  const toml = `
version = 2
id = "one"
[backend]
type = "localfs"
[backend.localfs]
dir = "/blobs"
alt_dirs = ["/more"]
[cache]
type = "filecache"
validate = true
[cache.filecache]
work_dir = "/c"
[rafs]
mode = "direct"
batch_size = 4096
[rafs.prefetch]
enable = true
threads = 2
`;
  const config = parseNydusdConfig(toml);
  assert.deepEqual(parseNydusdConfig(JSON.stringify(json)), config);
  assert.deepEqual(config.backend, { type: "localfs", blobFile: undefined, dir: "/blobs", altDirs: ["/more"] });
  assert.equal(config.prefetch.enable, true);
  assert.equal(config.prefetch.threads, 2);
  assert.equal(config.prefetch.prefetchAll, false);
});

Deno.test("a wrong value is reported with its key, in either form", () => {
  fails(
    v1((config) => Reflect.deleteProperty(config.device.backend.config, "host")),
    "device.backend.config.host is missing",
  );
  fails(v1((config) => config.device.backend.config.repo = ""), "device.backend.config.repo is empty");
  fails(
    v1((config) => Object.assign(config.device.backend.config, { timeout: "5" })),
    /config\.timeout must be a number, not a string$/,
  );
  fails(
    v1((config) => config.device.backend.type = "ftp"),
    /device\.backend\.type must be one of "localfs", .*"registry", not "ftp"$/,
  );
  fails(v1((config) => Reflect.deleteProperty(config, "mode")), "mode is missing");
  fails(v1((config) => config.amplify_io = 0x1000_0001), "amplify_io must be at most 268435456");
  fails(`{"version": 3}`, /^Cannot read configuration: version must be 2, not 3$/);
  fails(`version = 2\n[backend]\ntype = "oss"\n`, "backend.oss is missing");
  fails(
    `version = 2\n[backend]\ntype = "localfs"\n[backend.localfs]\n`,
    "backend.localfs has neither dir nor blob_file",
  );
});

Deno.test("prefetch limits are checked only where prefetch is enabled, as in nydusd", () => {
  const v1With = (fs_prefetch: Record<string, unknown>) => v1((config) => config.fs_prefetch = fs_prefetch);
  const v2With = (place: "rafs" | "cache", prefetch: Record<string, unknown>) =>
    JSON.stringify({
      version: 2,
      backend: { type: "localfs", localfs: { dir: "/b" } },
      [place]: { prefetch },
    });
  assert.equal(parseNydusdConfig(v1With({ threads_count: 0, merging_size: 2 ** 40 })).prefetch.enable, false);
  fails(v1With({ enable: true, threads_count: 0 }), "fs_prefetch.threads_count must be 1 to 1024");
  fails(v1With({ enable: true, merging_size: 0x1000_0001 }), "fs_prefetch.merging_size must be at most 268435456");
  fails(v1With({ bandwidth_rate: 2 ** 32 }), "fs_prefetch.bandwidth_rate must be at most 4294967295");
  for (const place of ["rafs", "cache"] as const) {
    assert.equal(parseNydusdConfig(v2With(place, { enable: false, threads: 4096 })).prefetch.threads, 4096);
    fails(v2With(place, { enable: true, threads: 1025 }), `${place}.prefetch.threads must be 1 to 1024`);
    fails(
      v2With(place, { enable: true, batch_size: 2 ** 30 }),
      `${place}.prefetch.batch_size must be at most 268435456`,
    );
    fails(v2With(place, { threads: 4 }), `${place}.prefetch.enable is missing`);
  }
});

Deno.test("null counts as absent for the keys where nydusd does so", () => {
  const config = parseNydusdConfig(v1((config) => {
    Object.assign(config.device.backend.config, { auth: null, registry_token: null });
    Object.assign(config.device.cache, { config: null });
  }));
  assert.ok(config.backend.type === "registry");
  assert.equal(config.backend.auth, undefined);
  assert.equal(config.backend.registryToken, undefined);
  const backend = { type: "localfs", localfs: { dir: "/b" }, oss: null };
  const sparse = parseNydusdConfig(JSON.stringify({ version: 2, backend, cache: null, rafs: null, overlay: null }));
  assert.equal(sparse.rafs.mode, "direct");
  assert.deepEqual(sparse.warnings, []);
  assert.equal(
    parseNydusdConfig(JSON.stringify({ version: 2, backend, cache: { type: "filecache", filecache: null } })).cache
      .type,
    "filecache",
  );
});

Deno.test("a timeout beyond the longest timer is reduced to it", () => {
  const config = parseNydusdConfig(v1((config) => {
    Object.assign(config.device.backend.config, { timeout: 2 ** 32 - 1, connect_timeout: 0 });
  }));
  assert.ok(config.backend.type === "registry");
  assert.equal(config.backend.timeoutMs, 2 ** 31 - 1);
  assert.equal(config.backend.connectTimeoutMs, 0);
});

Deno.test("http-proxy is a backend of v2 only", () => {
  fails(
    v1((config) => config.device.backend.type = "http-proxy"),
    /backend\.type must be one of .*, not "http-proxy"$/,
  );
});

Deno.test("text that is neither JSON nor TOML is refused with its position", () => {
  fails("", "it is empty");
  fails("{ nonsense", /it is not valid JSON/);
  fails("a = = 1", /it is neither JSON nor valid TOML \(line 1 column \d+\)/);
  fails("[1, 2", /TOML/);
  fails("[]", /TOML|not an object/);
});

Deno.test("unknown keys are reported and ignored", () => {
  const config = parseNydusdConfig(v1((config) => {
    Object.assign(config.device.backend.config, { mirrors: [] });
    config.metadata_file = "/x";
  }));
  assert.deepEqual(config.warnings, [
    "Configuration key metadata_file is unknown and ignored",
    "Configuration key device.backend.config.mirrors is unknown and ignored",
  ]);
});

Deno.test("messages contain no secret of the file", () => {
  const secret = "hunter2secret";
  const damaged = [
    v1((config) => Object.assign(config.device.backend.config, { auth: secret })),
    v1((config) => Object.assign(config.device.backend.config, { registry_token: [secret] })),
    v1((config) => Object.assign(config.device.backend.config, { auth: { user: secret } })),
    v1((config) => Object.assign(config.device.backend.config, { auth: secret })).replace(/}$/, ""),
    `version = 2\nauth = "${secret}" x`,
    `{"auth": ${secret}}`,
  ];
  for (const text of damaged) {
    assert.throws(() => parseNydusdConfig(text), (error) => {
      assert.ok(error instanceof NydusGdError);
      assert.ok(!error.message.includes(secret), error.message);
      return true;
    });
  }
});

Deno.test("every backend of nydusd is parsed", () => {
  const of = (type: string, section: Record<string, unknown>) =>
    parseNydusdConfig(JSON.stringify({ version: 2, backend: { type, [type]: section } })).backend;
  assert.equal(of("oss", { endpoint: "e", bucket_name: "b" }).type, "oss");
  const amazon = (region: string) => {
    const s3 = of("s3", { endpoint: "", region, bucket_name: "b" });
    return s3.type === "s3" && s3.endpoint;
  };
  assert.equal(amazon("us-east-1"), "s3.amazonaws.com");
  assert.equal(amazon("eu-west-1"), "s3.eu-west-1.amazonaws.com");
  assert.equal(amazon("cn-north-1"), "s3.cn-north-1.amazonaws.com.cn");
  assert.equal(of("http-proxy", { addr: "http://h" }).type, "http-proxy");
  assert.equal(of("localdisk", { device_path: "/dev/sda" }).type, "localdisk");
});

Deno.test("arbitrary text yields a configuration or an error with a position", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.json(), fc.json().map((json) => `{"version":2,"backend":${json}}`)),
      (text) => {
        try {
          parseNydusdConfig(text);
        } catch (error) {
          assert.ok(
            error instanceof NydusGdError && error.message.startsWith("Cannot read configuration: "),
            String(error),
          );
        }
      },
    ),
  );
});
