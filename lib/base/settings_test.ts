import assert from "node:assert/strict";
import fc from "fast-check";
import { NydusGdError } from "./errors.ts";
import { DEFAULT_SETTINGS, environmentName, parseSettings, SETTING_NAMES } from "./settings.ts";
import { limitInBytes } from "./setting_values.ts";

const parse = (toml: string, environment: Record<string, string> = {}) => parseSettings(toml, environment, "s.toml");

function fails(toml: string, message: string, environment: Record<string, string> = {}): void {
  assert.throws(
    () => parse(toml, environment),
    (error) => {
      assert.ok(error instanceof NydusGdError);
      assert.equal(error.code, "config");
      assert.equal(error.message, message);
      return true;
    },
  );
}

Deno.test("without a file and environment the defaults apply", () => {
  assert.deepEqual(parse(""), DEFAULT_SETTINGS);
});

Deno.test("every setting in the documentation can be set by its name", () => {
  const settings = parse(`
[cache]
dir = "/c"
max_size = "10GiB"
min_free = "5.5%"
[mount]
fs_driver = "fuse"
workers = 4
[fetch]
parallel_per_host = 3
connect_timeout = "500ms"
read_timeout = 7
retries = 0
trusted_origins = ["r.example.com", "[::1]:5000"]
certs_dir = "/certs.d"
[prefetch]
read_ahead = "256KiB"
enabled = false
bandwidth = "50MiB/s"
learned = false
[docker]
host = "unix:///x.sock"
config = "/root/.docker"
[log]
level = "debug"
format = "json"
[metrics]
listen = "127.0.0.1:9100"
`);
  assert.deepEqual(settings, {
    cache: { dir: "/c", maxSize: { bytes: 10 * 2 ** 30 }, minFree: { percent: 5.5 } },
    mount: { fsDriver: "fuse", workers: 4 },
    fetch: {
      parallelPerHost: 3,
      connectTimeoutMs: 500,
      readTimeoutMs: 7000,
      retries: 0,
      deadlineMs: 60_000,
      trustedOrigins: ["r.example.com", "[::1]:5000"],
      certsDir: "/certs.d",
    },
    prefetch: { enabled: false, bandwidth: 50 * 2 ** 20, learned: false, readAheadBytes: 256 * 1024 },
    docker: { host: "unix:///x.sock", config: "/root/.docker" },
    log: { level: "debug", format: "json" },
    metrics: { listen: "127.0.0.1:9100" },
  });
});

Deno.test("the environment takes precedence over the file", () => {
  const settings = parse(`cache.max_size = "1GiB"`, {
    NYDUS_GD_CACHE_MAX_SIZE: "70%",
    NYDUS_GD_MOUNT_WORKERS: "3",
    NYDUS_GD_PREFETCH_ENABLED: "0",
    NYDUS_GD_LOG_LEVEL: "",
    OTHER: "x",
  });
  assert.deepEqual(settings.cache.maxSize, { percent: 70 });
  assert.equal(settings.mount.workers, 3);
  assert.equal(settings.prefetch.enabled, false);
  assert.equal(settings.log.level, "info");
});

Deno.test("every setting has an environment variable", () => {
  assert.equal(environmentName("fetch.parallel_per_host"), "NYDUS_GD_FETCH_PARALLEL_PER_HOST");
  assert.equal(new Set(SETTING_NAMES.map(environmentName)).size, SETTING_NAMES.length);
});

Deno.test("an unknown key is refused with its line", () => {
  fails(
    "[cache]\n\nmaxsize = 1\n",
    "Cannot read settings s.toml: line 3: cache.maxsize is not known, did you mean cache.max_size",
  );
  fails("x = 1", "Cannot read settings s.toml: line 1: x is not known");
  fails("[log]\n[nonsense]\n", "Cannot read settings s.toml: line 2: nonsense is not known");
  fails("[cache]\n'a b' = 1\n", "Cannot read settings s.toml: line 2: cache.a b is not known");
  fails("[constructor]\n", "Cannot read settings s.toml: line 1: constructor is not known");
  fails(
    "[cache.max_size]\n",
    'Cannot read settings s.toml: line 1: cache.max_size must be a size such as "80%", "10GiB" or a number of bytes, not a table',
  );
  fails("cache = 3", "Cannot read settings s.toml: line 1: cache must be a table");
});

Deno.test("an unknown variable is refused if it begins like one of a setting", () => {
  fails("", "Cannot use NYDUS_GD_CACHE_MAXSIZE: there is no such setting, did you mean NYDUS_GD_CACHE_MAX_SIZE", {
    NYDUS_GD_CACHE_MAXSIZE: "1GB",
  });
  fails("", "Cannot use NYDUS_GD_FETCH_SPEED: there is no such setting", { NYDUS_GD_FETCH_SPEED: "1" });
  const others = { NYDUS_GD_EXECUTABLE: "/usr/bin/nydus-gd", NYDUS_GD_CACHED: "1", NYDUS_GD_CACHE_MAXSIZE: "" };
  assert.deepEqual(parse("", others), DEFAULT_SETTINGS);
});

Deno.test("a wrong value is refused with its line", () => {
  fails(
    '# c\n[log]\nlevel = "loud"',
    'Cannot read settings s.toml: line 3: log.level must be one of "trace", "debug", "info", "warning", "error", not "loud"',
  );
  fails(
    "fetch = { retries = -1 }",
    "Cannot read settings s.toml: line 1: fetch.retries must be an integer from 0 to 20, not -1",
  );
  fails(
    "mount.workers = 17",
    "Cannot read settings s.toml: line 1: mount.workers must be an integer from 1 to 16, not 17",
  );
  fails(
    '[cache]\nmax_size = "101%"',
    'Cannot read settings s.toml: line 2: cache.max_size must be a size such as "80%", "10GiB" or a number of bytes, not "101%"',
  );
  fails(
    '[fetch]\nread_timeout = "0s"',
    'Cannot read settings s.toml: line 2: fetch.read_timeout must be a time such as "5s", at most 24h, not "0s"',
  );
  fails('[cache]\ndir = "here"', 'Cannot read settings s.toml: line 2: cache.dir must be an absolute path, not "here"');
  fails("", 'Cannot use NYDUS_GD_METRICS_LISTEN: it must be HOST:PORT such as "127.0.0.1:9100", not "9100"', {
    NYDUS_GD_METRICS_LISTEN: "9100",
  });
});

Deno.test("text that is not TOML is refused with its line", () => {
  assert.throws(
    () => parse("[cache]\nmax_size = = 1"),
    /^NydusGdError: Cannot read settings s.toml: line 2: /,
  );
});

Deno.test("a percentage is of the file system, a size is absolute", () => {
  assert.equal(limitInBytes({ percent: 80 }, 1000), 800);
  assert.equal(limitInBytes({ bytes: 5 }, 1000), 5);
});

Deno.test("arbitrary text yields settings or an error that names the file", () => {
  fc.assert(fc.property(fc.string(), fc.constantFrom(...SETTING_NAMES), (value, name) => {
    for (const attempt of [() => parse(value), () => parse("", { [environmentName(name)]: value })]) {
      try {
        attempt();
      } catch (error) {
        assert.ok(error instanceof NydusGdError, String(error));
      }
    }
  }));
});

Deno.test("the environment may say true, false, 1 and 0", () => {
  const words = { true: true, false: false, "1": true, "0": false, " true ": true };
  for (const [word, enabled] of Object.entries(words)) {
    assert.equal(parse("", { NYDUS_GD_PREFETCH_ENABLED: word }).prefetch.enabled, enabled, word);
  }
});
