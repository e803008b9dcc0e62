/**
 * The demonstration as a user runs it: behind a proxy, and interrupted.
 *
 * @module
 */
import assert from "node:assert/strict";
import { commandLine, fails, inNamespace } from "../support/process/command.ts";
import { dockerMissing } from "../support/docker/docker_stack.ts";
import { TempDir } from "../support/temp_dir.ts";

const missing = dockerMissing();
if (missing !== undefined) console.log(`skipped: ${missing}`);

/** Nothing listens there. */
const PROXY = "http://127.0.0.1:9";

Deno.test({
  name: "the demonstration reaches its own servers past a proxy, and leaves nothing when it is interrupted",
  ignore: missing !== undefined,
}, async () => {
  using temp = TempDir.make();
  const [program, ...args] = commandLine(["demo"]);
  const child = new Deno.Command(program, {
    args,
    env: { TMPDIR: temp.path, HTTP_PROXY: PROXY, http_proxy: PROXY, NO_PROXY: "", no_proxy: "" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let said = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    const wasPulling = said.includes("pulling all of it");
    said += text;
    if (!wasPulling && said.includes("pulling all of it")) child.kill("SIGINT");
  }
  assert.equal((await child.status).code, 130, said);
  assert.match(said, /nydus-gd: cannot finish: interrupted by SIGINT\n$/);
  assert.deepEqual([...Deno.readDirSync(temp.path)], []);
});

Deno.test(
  { name: "the demonstration says at once that there is no room for it", ignore: Deno.uid() !== 0 },
  async () => {
    using temp = TempDir.make();
    const within = inNamespace(`mount -t tmpfs -o size=100m tmpfs ${temp.path}`);
    const outcome = { env: { TMPDIR: temp.path }, within };
    await fails(["demo"], new RegExp(`cannot run demo: ${temp.path} has .* MB left, and it takes`), /TMPDIR=/, outcome);
  },
);

Deno.test({
  name: "the demonstration says at once which programs it lacks, and how to get them",
  ignore: missing !== undefined,
}, async () => {
  using temp = TempDir.make();
  const within = inNamespace(
    "for name in dockerd docker-registry; do mount --bind /dev/null $(command -v $name); done",
  );
  await fails(
    ["demo"],
    /cannot run demo: dockerd, docker-registry not found$/,
    /apt-get install docker.io docker-registry$/,
    {
      env: { TMPDIR: temp.path },
      within,
    },
  );
});
