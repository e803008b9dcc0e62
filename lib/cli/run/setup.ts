/**
 * Implements `nydus-gd setup`: shows the plan, asks, applies it, and runs the doctor.
 *
 * @module
 */
import { resolve } from "node:path";
import { DEFAULT_FETCH_OPTIONS } from "../../backend/http/fetch_options.ts";
import { HttpClient } from "../../backend/http/http_client.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { installedCommand } from "../../base/self_command.ts";
import { readSettings } from "../../backend/config_files.ts";
import { DockerEngine, dockerHost } from "../../image/docker/engine.ts";
import { apply, withSetupLock } from "../../setup/apply.ts";
import { Host } from "../../setup/host.ts";
import { isEmpty, type Plan, planSetup } from "../../setup/plan.ts";
import { DamagedRecord } from "../../setup/record.ts";
import { planUndo, undo } from "../../setup/undo.ts";
import type { ActionContext, SetupArgs } from "../actions.ts";
import { confirm } from "../ask.ts";
import { EXIT, failureOf, showFailure } from "../failure.ts";
import { DEFAULT_INSTALLATION } from "../installation.ts";
import { lookOf } from "../output.ts";
import { planText } from "../plan_text.ts";
import { doctor } from "./doctor.ts";

/**
 * Sets up or undoes the setup. Returns 3 if the doctor finds a problem afterwards, or if the record of the setup is
 * damaged, so that nothing can be undone.
 */
export async function setup(args: SetupArgs, context: ActionContext): Promise<number> {
  const prefix = resolve(args.prefix);
  const verb = args.undo ? undoSetup : setUp;
  if (prefix !== "/") return await verb(args, context, new Host(prefix));
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", "Cannot set up: it needs root", { hint: "sudo nydus-gd setup" });
  }
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  return await verb(args, context, new Host(prefix, new DockerEngine(await hostOfDocker(args), http)));
}

/** Undo is the way out when nothing works any more: settings that cannot be read do not stand in its way. */
async function hostOfDocker(args: SetupArgs): Promise<string> {
  if (args.dockerHost !== undefined) return args.dockerHost;
  try {
    return dockerHost((await readSettings(DEFAULT_INSTALLATION.settings)).docker.host);
  } catch (error) {
    if (args.undo && hasCode(error, "config")) return dockerHost();
    throw error;
  }
}

async function setUp(args: SetupArgs, context: ActionContext, host: Host): Promise<number> {
  const { force, target } = args;
  const { signal, stdout } = context;
  const ending = await carryOut(args, context, host, {
    look: () => planSetup({ host, command: installedCommand(), force, target }, signal),
    files: (plan) => plan.changes,
    isDone: isEmpty,
    run: (plan, progress) => apply(host, plan, progress, signal),
    done: host.isLive ? "Everything is set up. Running doctor:" : "The files are written; no service was touched.",
    nothing: "Nothing to do: everything is set up. Run `nydus-gd doctor` to check it.",
  });
  if (ending !== "done" || !host.isLive) return EXIT.done;
  stdout.write("\n");
  const where = args.dockerHost === undefined ? {} : { dockerHost: args.dockerHost };
  return await doctor({ ...DEFAULT_INSTALLATION, output: "text", ...where }, context);
}

async function undoSetup(args: SetupArgs, context: ActionContext, host: Host): Promise<number> {
  const { force } = args;
  const { signal, stderr } = context;
  try {
    await carryOut(args, context, host, {
      look: () => planUndo({ host, force }, signal),
      files: (plan) => [...plan.changes, ...plan.last],
      isDone: (plan) => !plan.isRecorded,
      run: (plan, progress) => undo(host, plan, progress, signal),
      done: "Everything is as it was before setup.",
      nothing: "Nothing to undo: setup has changed nothing here.",
    });
  } catch (error) {
    if (!(error instanceof DamagedRecord)) throw error;
    showFailure(failureOf(error), stderr);
    return EXIT.foundWrong;
  }
  return EXIT.done;
}

/** The differences between setup and undo. */
interface Verb<P extends Plan> {
  look(): Promise<P>;
  files(plan: P): Plan["changes"];
  isDone(plan: P): boolean;
  run(plan: P, progress: (step: string) => void): Promise<void>;
  readonly done: string;
  readonly nothing: string;
}

async function carryOut<P extends Plan>(
  { dryRun, yes }: SetupArgs,
  context: ActionContext,
  host: Host,
  verb: Verb<P>,
): Promise<"done" | "left"> {
  const { stdout, stderr } = context;
  const shown = await verb.look();
  if (verb.isDone(shown)) {
    stdout.write(`${verb.nothing}\n`);
    return "left";
  }
  stdout.write(planText({ ...shown, changes: verb.files(shown) }, lookOf(stdout)));
  if (dryRun) return "left";
  if (!yes && !await confirm("Do it?", "--yes, or --dry-run", context)) {
    stdout.write("Nothing was changed.\n");
    return "left";
  }
  await withSetupLock(host, async () => {
    // plan again: the machine may have changed while the question was open
    const plan = await verb.look();
    if (textOf(plan, verb) !== textOf(shown, verb)) {
      throw new NydusGdError("busy", "Cannot continue: the machine has changed since the plan was shown", {
        hint: "run it again",
      });
    }
    await verb.run(plan, (step) => stderr.write(`${step}\n`));
  });
  stdout.write(`${verb.done}\n`);
  return "done";
}

function textOf<P extends Plan>(plan: P, verb: Verb<P>): string {
  return planText({ ...plan, changes: verb.files(plan) }, { hasColours: false, columns: undefined });
}
