/**
 * The composition root: the command line meets the work of its commands here, and nowhere else.
 *
 * Every command loads its work when it is chosen; `--help` loads none. The order of the rooms is checked by
 * tests/lint/layering_test.ts, from which only this file is exempt.
 *
 * @module
 */
import type { Actions } from "./lib/cli/actions.ts";
import { runCli } from "./lib/cli/program.ts";

/** A command without its work here is not offered. */
const actions: Actions = {
  serve: async () => (await import("./plugin/daemon.ts")).serve,
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

/** What group and others may never do to files that are made here: the umask of who started us may be looser. */
const WRITE_BY_OTHERS = 0o022;

if (import.meta.main) {
  Deno.umask(Deno.umask() | WRITE_BY_OTHERS);
  Deno.exit(await runCli(Deno.args, { actions }));
}
