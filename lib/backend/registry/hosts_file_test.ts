import assert from "node:assert/strict";
import { dirname } from "node:path";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { Mirrors } from "./certs_dir.ts";
import { parseHostsFile } from "./hosts_file.ts";

const PATH = "/certs/hosts.toml";

Deno.test("a file defines the upstream and the mirrors in file order, with every key", () => {
  const { upstream, mirrors, unknown } = parseHostsFile(
    `
server = "https://up.example.com"
skip_verify = true
[host."https://b.example.com/hub/"]
capabilities = ["pull", "push"]
ca = ["a.crt", "/b.crt"]
client = [["c.cert", "c.key"]]
dial_timeout = "3s"
[host."https://b.example.com/hub/".header]
X-One = "1"
x-two = ["2", "3"]
[host."http://a.example.com:5000"]
ca = "a.crt"
client = "both.pem"
[host."c.example.com/v2"]
[host."https://d.example.com/proxy/hub"]
override_path = true
client = ["d.cert", "d.key"]
[host."https://e.example.com"]
override_path = true
`,
    PATH,
  );
  assert.deepEqual(unknown, []);
  assert.equal(upstream.url?.href, "https://up.example.com/");
  assert.equal(upstream.skipVerify, true);
  assert.deepEqual(mirrors.map(({ url, prefix }) => [url?.origin, prefix]), [
    ["https://b.example.com", "/hub/v2"],
    ["http://a.example.com:5000", "/v2"],
    ["https://c.example.com", "/v2"],
    ["https://d.example.com", "/proxy/hub"],
    ["https://e.example.com", ""],
  ]);
  const [b, a, , d] = mirrors;
  assert.deepEqual([...b?.capabilities ?? []], ["pull"]);
  assert.deepEqual([...a?.capabilities ?? []], ["pull", "resolve"]);
  assert.deepEqual(b?.caFiles, ["/certs/a.crt", "/b.crt"]);
  assert.deepEqual(a?.caFiles, ["/certs/a.crt"]);
  assert.deepEqual(b?.client, { certificate: "/certs/c.cert", key: "/certs/c.key" });
  assert.deepEqual(a?.client, { certificate: "/certs/both.pem", key: "/certs/both.pem" });
  assert.deepEqual(d?.client, { certificate: "/certs/d.cert", key: "/certs/d.key" });
  assert.deepEqual(b?.headers, { "x-one": "1", "x-two": "2, 3" });
  assert.equal(b?.dialTimeoutMs, 3000);
});

Deno.test("without a server key the upstream is derived from the registry's name", () => {
  const { upstream, mirrors } = parseHostsFile("", PATH);
  assert.equal(upstream.url, undefined);
  assert.equal(upstream.prefix, "/v2");
  assert.deepEqual(mirrors, []);
});

Deno.test("unknown keys are reported and have no effect", () => {
  const { unknown } = parseHostsFile(`colour = 1\n[host."https://m"]\nsize = 2\n`, PATH);
  assert.deepEqual(unknown, ["colour", "host.https://m.size"]);
});

const WRONG: readonly [text: string, words: RegExp][] = [
  ["server = 1", /hosts\.toml: server must be a string, not a number/],
  ["server = 'ftp://x'", /the URL of server is neither https:\/\/ nor http:\/\//],
  ["server = 'https://'", /server is not a URL/],
  ["host = 1", /host must be/],
  [`[host."https://m"]\nclient = 7`, /client must be a string or a list, not a number/],
  [`[host."https://m?x=1"]`, /has a query/],
  [`[host."https://m"]\nskip_verify = "SECRET"`, /host\.https:\/\/m\.skip_verify must be true or false, not a string/],
  [`[host."https://m"]\ncapabilities = ["fly"]`, /capabilities\[0\] must be one of/],
  [`[host."https://m"]\nclient = [["a", "b"], ["c", "d"]]`, /client has more than one certificate and key/],
  [`[host."https://m"]\nclient = ["a", ["b", "c"]]`, /client has more than one certificate and key/],
  [`[host."https://m"]\nclient = ["a", "b", "c"]`, /client has more than one certificate and key/],
  [`[host."https://m"]\ndial_timeout = "soon"`, /dial_timeout must be a time/],
  [
    `[host."https://m"]\n[host."https://m".header]\nx = "SECRET\\n"`,
    /header\.x contains characters that are not allowed in a header/,
  ],
  [`[host."https://m"]\n[host."https://m".header]\n"x y" = "SECRET"`, /header contains an invalid header name/],
  [`[host."https://m"]\n[host."https://m".header]\nx = 7`, /header\.x must be a string or a list, not a number/],
  [`[host."https://user:SECRET@m"]\nskip_verify = 1`, /the URL of a host holds a password/],
  [`x = "SECRET`, /line 1: it is not valid TOML/],
];
for (const [text, words] of WRONG) {
  Deno.test(`a file is refused by name: ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseHostsFile(text, PATH), (error) => {
      assert.ok(error instanceof NydusGdError && error.code === "config");
      assert.match(error.message, /^Cannot read \/certs\/hosts\.toml: /);
      assert.match(error.message, words);
      assert.doesNotMatch(Deno.inspect(error), /SECRET/);
      return true;
    });
  });
}

/** Writes `name: server` files and returns the upstream that `host` gets. */
function serverOf(host: string, folders: readonly Readonly<Record<string, string>>[]): string | undefined {
  using dir = TempDir.make();
  const paths = folders.map((files, i) => {
    for (const [name, server] of Object.entries(files)) {
      const path = dir.join(`${i}/${name}/hosts.toml`);
      Deno.mkdirSync(dirname(path), { recursive: true });
      Deno.writeTextFileSync(path, `server = "https://${server}"`);
    }
    return dir.join(String(i));
  });
  return new Mirrors(paths).of(host)?.upstream.url?.host;
}

Deno.test("folders are searched as in containerd, the second one if the first has no file", () => {
  const all = { "r_5000_": "a", "r:5000": "b", "r": "c", "_default": "d" };
  const { "r_5000_": _, ...others } = all;
  assert.equal(serverOf("r:5000", [all]), "a");
  assert.equal(serverOf("r:5000", [others]), "b");
  assert.equal(serverOf("r", [all]), "c");
  assert.equal(serverOf("r:6000", [all]), "d");
  assert.equal(serverOf("r:5000", [{ "other": "x" }, all]), "a");
  assert.equal(serverOf("r:5000", [{ "_default": "x" }, all]), "x");
  assert.equal(serverOf("r:5000", [{}, {}]), undefined);
});

Deno.test("every name of Docker Hub uses the folder docker.io", () => {
  for (const name of ["docker.io", "index.docker.io", "registry-1.docker.io"]) {
    assert.equal(serverOf(name, [{ "docker.io": "hub" }]), "hub");
  }
});

Deno.test("a hosts file that is too large, not a regular file or unreadable is refused with its path", () => {
  using dir = TempDir.make();
  Deno.mkdirSync(dir.join("r"));
  const mirrors = new Mirrors([dir.path]);
  Deno.symlinkSync("/dev/zero", dir.join("r/hosts.toml"));
  const refused = (error: unknown) =>
    hasCode(error, "config") && /r\/hosts\.toml: it is not a file/.test(String(error));
  assert.throws(() => mirrors.of("r"), refused);
  Deno.removeSync(dir.join("r/hosts.toml"));
  Deno.writeFileSync(dir.join("r/hosts.toml"), new Uint8Array((1 << 20) + 1));
  assert.throws(() => mirrors.of("r"), /has more than 1048576 bytes/);
  Deno.removeSync(dir.join("r/hosts.toml"));
  Deno.symlinkSync("hosts.toml", dir.join("r/hosts.toml"));
  assert.throws(() => mirrors.of("r"), /Cannot read .*r\/hosts\.toml: ELOOP/);
  Deno.removeSync(dir.join("r"), { recursive: true });
  Deno.writeTextFileSync(dir.join("r"), "");
  assert.equal(mirrors.of("r"), undefined, "a file in the place of a registry's folder");
});

Deno.test("an unknown key does not keep a registry from being opened", async () => {
  await using _quiet = await quietLogs();
  using dir = TempDir.make();
  Deno.mkdirSync(dir.join("r"));
  Deno.writeTextFileSync(dir.join("r/hosts.toml"), "colour = 1");
  assert.deepEqual(new Mirrors([dir.path]).of("r")?.unknown, ["colour"]);
});
