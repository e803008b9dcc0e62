import assert from "node:assert/strict";
import { IDLE_STATUS } from "../../../tests/support/serve/idle_status.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { StatusDocument } from "../../image/lazy/report/status_document.ts";
import { runCli } from "../program.ts";

const DOCUMENT: StatusDocument = { ...IDLE_STATUS, uptime_seconds: 1, root: "/r" };

const actions = { status: async () => (await import("./status.ts")).status };

interface RunOptions {
  readonly isTerminal?: boolean;
  readonly signal?: AbortSignal;
  readonly onWrite?: (text: string) => void;
}

async function run(args: string[], { isTerminal = false, signal, onWrite }: RunOptions = {}) {
  const text = { stdout: "", stderr: "" };
  const output = (name: keyof typeof text) => ({
    isTerminal: name === "stdout" && isTerminal,
    write: (more: string) => {
      text[name] += more;
      if (name === "stdout") onWrite?.(more);
    },
  });
  const exitCode = await runCli(["status", ...args], {
    actions,
    stdout: output("stdout"),
    stderr: output("stderr"),
    signal: signal ?? new AbortController().signal,
  });
  return { exitCode, ...text };
}

/** A socket server that sends these responses, repeating the last one. */
async function withDaemon(
  answers: (() => Response | Promise<Response>)[],
  test: (socket: string, paths: string[]) => Promise<void>,
): Promise<void> {
  using temp = TempDir.make();
  const path = temp.join("admin.sock");
  const paths: string[] = [];
  let asked = 0;
  await using _server = Deno.serve({ path, onListen: () => {} }, (request) => {
    paths.push(new URL(request.url).pathname);
    return answers[Math.min(asked++, answers.length - 1)]?.() ?? new Response();
  });
  await test(path, paths);
}

Deno.test("status is a table, or the daemon's own JSON document", () =>
  withDaemon([() => Response.json({ ...DOCUMENT, later: "more" })], async (socket, paths) => {
    const { exitCode, stdout, stderr } = await run(["--admin-socket", socket]);
    assert.deepEqual([exitCode, stderr], [0, ""]);
    assert.match(stdout, /^nydus-gd 0\.1\.0, up 1s, kernel 6\.1\.0, root \/r\n[^]*\nno lazy image is mounted\n$/);
    const json = await run(["--admin-socket", socket, "-o", "json"]);
    assert.deepEqual(JSON.parse(json.stdout), { ...DOCUMENT, later: "more" });
    assert.deepEqual(paths, ["/v1/status", "/v1/status"]);
  }));

Deno.test("without a daemon the reason and a remedy are shown", async () => {
  using temp = TempDir.make();
  const nothing = await run(["--admin-socket", temp.join("none.sock")]);
  const errorText = (state: string, hint: string) => `${state}\nhint: ${hint}\n`;
  assert.deepEqual(nothing, {
    exitCode: 1,
    stdout: "",
    stderr: errorText(
      `nydus-gd: cannot query the daemon at ${temp.join("none.sock")}: no daemon answers, there is no such socket`,
      "systemctl start nydus-gd",
    ),
  });
  const listener = Deno.listen({ transport: "unix", path: temp.join("first.sock") });
  await Deno.rename(temp.join("first.sock"), temp.join("left.sock")); // or closing it would remove the file
  listener.close();
  const left = await run(["--admin-socket", temp.join("left.sock")]);
  assert.equal(left.exitCode, 1);
  assert.match(left.stderr, /the socket was left behind by a daemon that exited\nhint: systemctl start nydus-gd\n$/);
});

Deno.test("responses of another program or version are refused by name", async () => {
  const cases: [answer: () => Response, state: RegExp][] = [
    [() => new Response("no", { status: 404 }), /it answers \/v1\/status with HTTP 404\nhint: nydus-gd version\n$/],
    [() => new Response("<html>"), /its response is not JSON: /],
    [() => Response.json({ ...DOCUMENT, fetched: 1 }), /cannot read the daemon's status: fetched must be an object/],
  ];
  for (const [answer, state] of cases) {
    await withDaemon([answer], async (socket) => {
      const { exitCode, stderr } = await run(["--admin-socket", socket]);
      assert.equal(exitCode, 1);
      assert.match(stderr, state);
    });
  }
});

Deno.test("--watch requires a terminal and text output", async () => {
  const piped = await run(["--watch"]);
  assert.equal(piped.exitCode, 2);
  assert.match(
    piped.stderr,
    /cannot watch status: standard output is not a terminal\nhint: nydus-gd status -o json\n$/,
  );
  const json = await run(["--watch", "-o", "json"], { isTerminal: true });
  assert.equal(json.exitCode, 2);
  assert.match(json.stderr, /: -o json gives one document\nhint: nydus-gd status -o json\n$/);
});

Deno.test("--watch redraws in place, survives a daemon that stops answering, and exits cleanly", async () => {
  const down = () => new Response("starting", { status: 503 });
  const answers = [() => Response.json(DOCUMENT), down, () => Response.json({ ...DOCUMENT, uptime_seconds: 3 })];
  await withDaemon(answers, async (socket) => {
    const abort = new AbortController();
    const screens: string[] = [];
    const onWrite = (text: string) => {
      screens.push(text);
      if (text.includes("up 3s")) abort.abort(new NydusGdError("interrupted", "Cannot finish: interrupted by SIGINT"));
    };
    const { exitCode, stderr } = await run(["--watch", "--admin-socket", socket], {
      isTerminal: true,
      signal: abort.signal,
      onWrite,
    });
    assert.deepEqual([exitCode, stderr], [0, ""]);
    const [clear, first = "", second = "", third = ""] = screens.map((screen) => screen.replaceAll("\x1b", "ESC"));
    assert.equal(clear, "ESC[2J");
    assert.match(first, /^ESC\[Hnydus-gd 0\.1\.0, up 1s[^\n]*ESC\[K\n[^]*ESC\[J$/);
    assert.match(second, /^ESC\[HCannot query the daemon at .*HTTP 503ESC\[K\nESC\[J$/);
    assert.match(third, /up 3s/);
  });
});

Deno.test("--watch of a daemon that never answered fails", async () => {
  using temp = TempDir.make();
  const { exitCode, stdout } = await run(["--watch", "--admin-socket", temp.join("none")], { isTerminal: true });
  assert.deepEqual([exitCode, stdout], [1, ""]);
});

Deno.test("an interrupted query is not reported as a failure of the daemon", () =>
  withDaemon([() => Response.json(DOCUMENT)], async (socket) => {
    const signal = AbortSignal.abort(new NydusGdError("interrupted", "Cannot finish: interrupted by SIGINT"));
    const { exitCode, stderr } = await run(["--admin-socket", socket], { signal });
    assert.deepEqual([exitCode, stderr], [130, "nydus-gd: cannot finish: interrupted by SIGINT\n"]);
  }));
