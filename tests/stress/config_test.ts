/**
 * Fuzzes configuration files: nydusd's configuration in its three forms, our settings, mountinfo.
 *
 * @module
 */
import assert from "node:assert/strict";
import { parseMountinfo } from "../../ffi/mountinfo.ts";
import { parseNydusdConfig } from "../../lib/backend/nydusd_config.ts";
import { parseHostsFile } from "../../lib/backend/registry/hosts_file.ts";
import { DEFAULT_SETTINGS, environmentName, parseSettings, SETTING_NAMES } from "../../lib/base/settings.ts";
import { fetchTuning } from "../../lib/image/prefetch/fetch_plan.ts";
import { JsonText } from "../../lib/setup/json_text.ts";
import { revertChanges } from "../../lib/setup/member_changes.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";

/** Must not occur in any message; as long as real secrets. */
const SECRET = "hunter2-5cb1f1b4b0fa49d6a4ab";

const REGISTRY = {
  scheme: "https",
  host: "registry.example.com:5000",
  repo: "library/app",
  auth: btoa("user:password"),
  registry_token: SECRET,
  timeout: 5,
  retry_limit: 3,
  ca_cert_files: ["/etc/ca.pem"],
  proxy: { url: "http://p:1", fallback: true, check_interval: 5 },
};
const PREFETCH = { enable: true, threads_count: 8, merging_size: 1 << 20, bandwidth_rate: 0, prefetch_all: false };
const V1 = [
  {
    device: {
      id: "x",
      backend: { type: "registry", config: REGISTRY },
      cache: { type: "blobcache", compressed: false, config: { work_dir: "/c", disable_indexed_map: false } },
    },
    mode: "direct",
    digest_validate: false,
    iostats_files: true,
    enable_xattr: true,
    amplify_io: 1 << 20,
    fs_prefetch: PREFETCH,
  },
  {
    device: {
      backend: {
        type: "oss",
        config: { endpoint: "oss.example.com", bucket_name: "b", access_key_id: "i", access_key_secret: SECRET },
      },
    },
    mode: "cached",
  },
  { device: { backend: { type: "localfs", config: { dir: "/blobs", alt_dirs: ["/more"] } } }, mode: "direct" },
];
const V2 = [
  {
    version: 2,
    id: "x",
    backend: { type: "s3", s3: { region: "r", bucket_name: "b", endpoint: "", access_key_secret: SECRET } },
    cache: { type: "filecache", filecache: { work_dir: "/c" }, prefetch: { enable: true, threads: 4 } },
    rafs: { mode: "direct", batch_size: 1, prefetch: { enable: false } },
  },
  { version: 2, backend: { type: "http-proxy", "http-proxy": { addr: "/run/x.sock", path: "/p" } }, overlay: {} },
];
const TOML = `version = 2
id = "x"
[backend]
type = "registry"
[backend.registry]
host = "registry.example.com"
repo = "a/b"
auth = "dTpw"
registry_token = "${SECRET}"
timeout = 5
[backend.registry.proxy]
url = 'http://p'
[cache]
type = "blobcache"
[cache.filecache]
work_dir = """/c"""
[rafs]
mode = "direct"
batch_size = 0x10_0000
prefetch = { enable = true, threads = 8 }
`;
const KEYS = [...Object.keys(REGISTRY), ...Object.keys(PREFETCH), "version", "backend", "type", "localfs", "fscache"];

function readConfig(text: string): void {
  try {
    const { backend, prefetch, cache, rafs, warnings } = parseNydusdConfig(text);
    const { parallelPrefetch = 1, prefetchRequestBytes = 1 } = fetchTuning(DEFAULT_SETTINGS, { prefetch, rafs });
    assert.ok(parallelPrefetch >= 1 && parallelPrefetch <= 1024 && prefetchRequestBytes >= 1);
    assert.ok(prefetchRequestBytes <= 2 ** 28 && (!prefetch.enable || prefetch.threads >= 1));
    assert.ok(cache.workDir !== "" && warnings.every((warning) => warning.startsWith("Configuration key ")));
    if ("timeoutMs" in backend) assert.ok(backend.timeoutMs === undefined || backend.timeoutMs >= 0);
  } catch (error) {
    isWithoutSecret(error, text);
    throw error;
  }
}

/** An error may locate itself by keys, but must not quote any other text. */
function isWithoutSecret(error: unknown, text: string): void {
  const isKey = new RegExp(`${SECRET.slice(0, 12)}[^"\\n]*"?\\s*[:=.\\]]`).test(text);
  assert.ok(isKey || !String(error).includes(SECRET.slice(0, 18)), String(error));
}

fuzz(import.meta, {
  name: "nydusd's configuration as JSON",
  inputs: () => new TextMutator([...V1, ...V2].map((each) => JSON.stringify(each)), { json: true, words: KEYS }),
  open: () => readConfig,
});

fuzz(import.meta, {
  name: "nydusd's configuration as TOML",
  inputs: () =>
    new TextMutator([TOML, 'version=2\nbackend={type="localfs",localfs={dir="/x"}}'], {
      words: [...KEYS, "[", "]", "[[", "=", "'''", '"""', "{", "}", ".", "\\u00e9", "#", "1979-05-27T07:32:00Z", "inf"],
    }),
  open: () => readConfig,
});

const HOSTS = `server = "https://registry-1.docker.io"
dial_timeout = "3s"
[host."https://mirror.example.com/hub"]
capabilities = ["pull", "resolve"]
ca = ["ca.crt", "/etc/ca.pem"]
client = [["client.cert", "client.key"]]
skip_verify = false
[host."https://mirror.example.com/hub".header]
authorization = "Bearer ${SECRET}"
x-team = ["a", "b"]
[host."http://127.0.0.1:5000/v2/proxy"]
override_path = true
`;

fuzz(import.meta, {
  name: "hosts.toml",
  inputs: () =>
    new TextMutator([HOSTS, `[host."m:5000"]\nclient = "both.pem"\nheader = { a = "${SECRET}" }`, "ca = 'x'"], {
      words: [
        "[",
        "]",
        "host",
        '"https://',
        "..",
        "/..",
        "@",
        "?",
        "#",
        "server",
        "header",
        "{",
        "}",
        "\\n",
        "0x1",
        "inf",
      ],
    }),
  open: () => (text) => {
    try {
      const { upstream, mirrors } = parseHostsFile(text, "/certs/hosts.toml");
      for (const { url, prefix, capabilities, caFiles, client, headers, dialTimeoutMs } of [upstream, ...mirrors]) {
        assert.ok(
          url === undefined || /^https?:$/.test(url.protocol) && url.host !== "" && url.search + url.hash === "",
        );
        assert.ok(url === undefined || url.username + url.password === "");
        assert.match(prefix, /^(\/.*)?(?<!\/)$/);
        assert.ok([...capabilities].every((each) => each === "pull" || each === "resolve"));
        const files = [...caFiles, ...client === undefined ? [] : [client.certificate, client.key]];
        assert.ok(files.every((file) => file.startsWith("/")), files.join());
        new Headers(headers);
        assert.ok(dialTimeoutMs === undefined || dialTimeoutMs >= 1);
      }
    } catch (error) {
      isWithoutSecret(error, text);
      throw error;
    }
  },
});

const DAEMON_JSON = [
  { "storage-driver": "overlay2", "log-opts": { "max-size": "1m" }, dns: ["1.1.1.1"], experimental: false },
  { "live-restore": true, "storage-opts": ["overlay2.size=5G"], mtu: 1400, labels: [], features: {} },
];

fuzz(import.meta, {
  name: "daemon.json",
  inputs: () =>
    new TextMutator(DAEMON_JSON.flatMap((each) => [JSON.stringify(each), JSON.stringify(each, null, 2)]), {
      json: true,
      words: ["{", "}", "[", "]", ",", ":", '"', "//", "/*", "#", "\\u0041", "\r\n", "storage-driver", "experimental"],
    }),
  open: () => (text) => {
    const json = JsonText.parse(text, "daemon.json");
    const document = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual(new Set(json.names), new Set(Object.keys(document)));
    const changed = json.with("storage-driver", "nydus-gd").with("storage-opts", undefined);
    const { "storage-opts": _gone, ...rest } = document;
    assert.deepEqual(JSON.parse(changed.text), { ...rest, "storage-driver": "nydus-gd" });
    const { text: again, kept } = revertChanges(changed, [
      { name: "storage-driver", before: document["storage-driver"], ours: "nydus-gd" },
      { name: "storage-opts", before: document["storage-opts"], ours: undefined },
    ]);
    assert.deepEqual([JSON.parse(again), kept], [document, []]);
  },
});

const SETTINGS = `[cache]
dir = "/var/cache/x"
max_size = "80%"
min_free = 1048576
[mount]
fs_driver = "auto"
workers = 2
[fetch]
parallel_per_host = 8
connect_timeout = "5s"
read_timeout = 30
retries = 3
deadline = "1m"
[prefetch]
enabled = true
bandwidth = "50MiB/s"
learned = false
[docker]
config = "/root/.docker"
[log]
level = "info"
format = "json"
[metrics]
listen = "127.0.0.1:9100"
`;

fuzz(import.meta, {
  name: "settings",
  inputs: () =>
    new TextMutator([SETTINGS, 'cache.max_size="10GiB"\nfetch.retries=0', "[cache]\n\"dir\"='/x'"], {
      words: [...SETTING_NAMES, "[", "]", "=", ".", '"', "'", "MiB", "%", "ms", "inf", "1e3", "1979-05-27", "{", "}"],
    }),
  open: () => (text) => {
    const { cache, mount, fetch, prefetch, metrics } = parseSettings(text, {}, "settings.toml");
    assert.ok(cache.dir === undefined || cache.dir.startsWith("/"));
    for (const limit of [cache.maxSize, cache.minFree]) {
      if ("percent" in limit) assert.ok(limit.percent >= 0 && limit.percent <= 100);
      else assert.ok(Number.isSafeInteger(limit.bytes) && limit.bytes >= 0);
    }
    assert.ok(mount.workers >= 1 && mount.workers <= 16 && fetch.retries >= 0 && fetch.retries <= 20);
    for (const ms of [fetch.connectTimeoutMs, fetch.readTimeoutMs, fetch.deadlineMs]) {
      assert.ok(Number.isInteger(ms) && ms >= 1 && ms <= 24 * 3_600_000);
    }
    assert.ok(prefetch.bandwidth === undefined || prefetch.bandwidth > 0);
    assert.ok(metrics.listen === undefined || /:\d{1,5}$/.test(metrics.listen));
  },
});

fuzz(import.meta, {
  name: "settings in the environment",
  inputs: () =>
    new TextMutator([
      "cache.max_size=80%",
      "fetch.deadline=5s",
      "mount.workers=2",
      "metrics.listen=[::1]:9",
      "log.level=x",
    ], {
      words: [...SETTING_NAMES, "=", "%", "GiB", "ms", ":", "true", "0", "unlimited"],
    }),
  open: () => (text) => {
    const equals = text.indexOf("=");
    const name = environmentName(text.slice(0, Math.max(0, equals)));
    parseSettings("", { [name]: text.slice(equals + 1) }, "settings.toml");
  },
});

const MOUNTINFO = [
  "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root rw,errors=continue",
  "41 36 0:44 / /var/lib/docker/x\\040y/merged rw shared:9 master:2 - overlay overlay rw,lowerdir=/a:/b",
  "42 36 0:45 / /x//deleted ro - fuse.nydus-gd nydus-gd rw,user_id=0",
].join("\n");

fuzz(import.meta, {
  name: "mountinfo",
  inputs: () =>
    new TextMutator([MOUNTINFO], {
      words: [" - ", " ", "\\040", "\\777", "\\", "\n", "//deleted", "/merged", "overlay"],
    }),
  open: () => (text) => {
    const mounts = parseMountinfo(text);
    assert.ok(mounts.length <= text.split("\n").length);
    for (const { device, root, mountPoint, options, fsType, source, superOptions } of mounts) {
      for (const field of [device, root, mountPoint, options, fsType, source, superOptions]) {
        assert.equal(typeof field, "string");
      }
    }
  },
});
