/**
 * The composition root: the only place that connects the command line with the implementations of its commands.
 *
 * Each implementation is loaded when its command is chosen; `--help` loads none. tests/lint/layering_test.ts checks the
 * order of the layers and exempts only this file.
 *
 * @module
 */
import type { Actions } from "./lib/cli/actions.ts";

/** Only commands with an implementation here are offered. */
const actions: Actions = {
  serve: async () => (await import("./plugin/serve.ts")).serve,
  pull: async () => (await import("./lib/cli/run/pull.ts")).pull,
  mount: async () => (await import("./lib/cli/run/mount.ts")).mount,
  umount: async () => (await import("./lib/cli/run/umount.ts")).umount,
  check: async () => (await import("./lib/cli/run/check.ts")).check,
  inspect: async () => (await import("./lib/cli/run/inspect.ts")).inspect,
  unpack: async () => (await import("./lib/cli/run/unpack.ts")).unpack,
  status: async () => (await import("./lib/cli/run/status.ts")).status,
  setup: async () => (await import("./lib/cli/run/setup.ts")).setup,
  doctor: async () => (await import("./lib/cli/run/doctor.ts")).doctor,
  convert: async () => (await import("./lib/cli/run/convert.ts")).convert,
  gc: async () => (await import("./lib/cli/run/gc.ts")).gc,
  demo: async () => (await import("./lib/cli/run/demo.ts")).demo,
};

/** Permissions never granted on created files, even if the inherited umask would allow them. */
const WRITE_BY_OTHERS = 0o022;

if (import.meta.main) {
  Deno.umask(Deno.umask() | WRITE_BY_OTHERS);
  // only `serve` is passed sockets; clients that wait there are greeted before anything else is loaded
  if (Deno.env.has("LISTEN_FDS")) (await import("./plugin/containerd/greeter.ts")).greetWaiting();
  const { runCli } = await import("./lib/cli/program.ts");
  Deno.exit(await runCli(Deno.args, { actions }));
}
