/**
 * The command line: defines the commands, parses arguments, and reports the outcome.
 *
 * ```
 * argv ──► commander ──► command file (flags) ──► Load (main.ts) ──► Action ──► exit status
 * ```
 * Arguments are parsed here and in `commands/`; the work is done by actions that main.ts injects. Exit statuses: 2 for
 * wrong usage, 1 for a failure with one line and a hint, 130 for an interrupted command after its cleanup.
 *
 * @module
 */
import { Command, type CommandUnknownOpts, Help, Option } from "@commander-js/extra-typings";
import { styleText } from "node:util";
import { VERSION } from "../base/version.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../base/setting_choices.ts";
import { type Action, type ActionContext, type Actions, type Load, type LogControl, type Output } from "./actions.ts";
import { requireText } from "./arguments.ts";
import { checkCommand } from "./commands/check.ts";
import { completionCommand } from "./commands/completion.ts";
import { convertCommand } from "./commands/convert.ts";
import { demoCommand } from "./commands/demo.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { gcCommand } from "./commands/gc.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { mountCommand } from "./commands/mount.ts";
import { pullCommand } from "./commands/pull.ts";
import { serveCommand } from "./commands/serve.ts";
import { setupCommand } from "./commands/setup.ts";
import { statusCommand } from "./commands/status.ts";
import { umountCommand } from "./commands/umount.ts";
import { unpackCommand } from "./commands/unpack.ts";
import { versionCommand } from "./commands/version.ts";
import { examples, type Run } from "./command.ts";
import { EXIT, failureOf, showFailure, UsageError } from "./failure.ts";
import { Interrupts } from "./interrupts.ts";
import { hasColours, streamOutput } from "./output.ts";

/** The environment of a command line. */
export interface CliOptions {
  readonly actions: Actions;
  /** Default: the streams of this process. */
  readonly stdout?: Output;
  readonly stderr?: Output;
  /** Replaces SIGINT and SIGTERM, which are then not handled. */
  readonly signal?: AbortSignal;
}

/**
 * Runs one command line.
 *
 * @param args without the program's name
 * @returns the exit status; failures have been printed to standard error
 */
export async function runCli(args: readonly string[], options: CliOptions): Promise<number> {
  const stdout = options.stdout ?? streamOutput(Deno.stdout, "standard output");
  const stderr = options.stderr ?? streamOutput(Deno.stderr, "standard error");
  let exitCode: number = EXIT.done;
  let debugging = false;
  const program = buildProgram(options.actions, { stdout, stderr }, async (load, actionArgs) => {
    const { logLevel, logFormat } = program.opts();
    debugging = logLevel === "debug" || logLevel === "trace";
    const { configureLogging } = await import("./logging.ts");
    const isSet = (name: "logLevel" | "logFormat") => program.getOptionValueSource(name) !== "default";
    const explicit = { level: isSet("logLevel"), format: isSet("logFormat") };
    const log = configureLogging(stderr, { level: logLevel, format: logFormat, explicit });
    exitCode = await withSignal(options.signal, (signal) => invoke(load, actionArgs, { signal, stdout, stderr, log }));
  });
  try {
    requireText(args);
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    const failure = failureOf(error);
    exitCode = failure.exitCode;
    showFailure(failure, stderr);
    if (debugging && error instanceof Error) showStack(error, stderr);
  }
  return exitCode;
}

/** Runs the action chosen on the command line. */
type Dispatch = <Args>(load: Load<Args>, args: Args) => Promise<void>;

type Program = Command<[], { logLevel: LogControl["level"]; logFormat: LogControl["format"] }>;

function buildProgram(actions: Actions, outputs: { stdout: Output; stderr: Output }, dispatch: Dispatch): Program {
  const program: Program = new Command("nydus-gd")
    .description(
      "Start containers before their image is downloaded: a graph driver for Docker, a snapshotter for containerd.",
    )
    .addOption(
      new Option("--log-level <level>", "how much to log").choices(LOG_LEVELS).default("info" as const)
        .env("NYDUS_GD_LOG_LEVEL"),
    )
    .addOption(
      new Option("--log-format <format>", "auto: text on a terminal, else JSON lines").choices(LOG_FORMATS)
        .default("auto" as const).env("NYDUS_GD_LOG_FORMAT"),
    )
    .version(VERSION, "-v, --version", "show the version")
    .helpCommand("help [command]", "Show the help of a command")
    .addHelpText(
      "after",
      examples("sudo nydus-gd setup", "nydus-gd pull registry.example/app:1", "nydus-gd pull --help"),
    );
  const run = <Args>(load: Load<Args>): Run<Args> => (args) => dispatch(load, args);
  const offer = <Args>(make: (run: Run<Args>) => CommandUnknownOpts, load: Load<Args> | undefined) => {
    if (load !== undefined) program.addCommand(make(run(load)));
  };
  offer(setupCommand, actions.setup);
  offer(pullCommand, actions.pull);
  offer(convertCommand, actions.convert);
  offer(statusCommand, actions.status);
  offer(doctorCommand, actions.doctor);
  offer(gcCommand, actions.gc);
  offer(serveCommand, actions.serve);
  offer(mountCommand, actions.mount);
  offer(umountCommand, actions.umount);
  offer(checkCommand, actions.check);
  offer(inspectCommand, actions.inspect);
  offer(unpackCommand, actions.unpack);
  offer(demoCommand, actions.demo);
  offer(completionCommand, async () => {
    const { completionScript } = await import("./completion_script.ts");
    return ({ shell }, { stdout }) => Promise.resolve(stdout.write(completionScript(shell, program)));
  });
  offer(versionCommand, async () => (await import("./version.ts")).showVersion);
  for (const command of [program, ...program.commands]) arrange(command, outputs);
  program.on("beforeAllHelp", () => refuseUnknown(program));
  return program;
}

/** Commander shows the general help if the help of an unknown command is asked for. @throws {UsageError} */
function refuseUnknown(program: Program): void {
  const [word, asked] = program.args;
  const name = word === "help" ? asked : word;
  const names = ["help", ...program.commands.map((command) => command.name())];
  // alone it is parsed as a command, which fails with a suggestion
  if (name !== undefined && !name.startsWith("-") && !names.includes(name)) program.parse([name], { from: "user" });
}

/** Commands that end with {@link EXIT.foundWrong} where they work and something is wrong. */
const FINDING = ["check", "doctor", "setup"];

/** The texts of commander itself, which says of each flag that it is false by default. */
const HELP = new Help();

/** Configures a command: complete help, no exit of its own, uniform errors, empty variables as if they were unset. */
function arrange(command: CommandUnknownOpts, { stdout, stderr }: { stdout: Output; stderr: Output }): void {
  const path = command.parent === null ? command.name() : `${command.parent.name()} ${command.name()}`;
  for (const { envVar } of command.options) {
    if (envVar !== undefined && Deno.env.get(envVar) === "") Deno.env.delete(envVar);
  }
  command
    .exitOverride((error) => {
      throw new UsageError(path, error);
    })
    .showSuggestionAfterError(true)
    .helpOption("-h, --help", "show this help")
    .configureHelp({
      showGlobalOptions: true,
      subcommandTerm: (subcommand) => subcommand.name(),
      optionDescription: (option) => option.isBoolean() ? option.description : HELP.optionDescription(option),
      styleTitle: (title) => styleText("bold", title, { validateStream: false }),
    })
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: () => {}, // shown once, by runCli
      getOutHasColors: () => hasColours(stdout),
      getErrHasColors: () => hasColours(stderr),
    })
    .addHelpText("after", exitHelp(FINDING.includes(command.name())));
}

function exitHelp(finds: boolean): string {
  const found = finds ? `, ${EXIT.foundWrong} findings` : "";
  const { done, failed, usage, interrupted } = EXIT;
  return `Exit status: ${done} done, ${failed} failed, ${usage} wrong usage${found}, ${interrupted} interrupted.\n`;
}

async function invoke<Args>(load: Load<Args>, args: Args, context: ActionContext): Promise<number> {
  const action: Action<Args> = await load();
  return (await action(args, context)) ?? EXIT.done;
}

async function withSignal<T>(given: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  if (given !== undefined) return await work(given);
  using interrupts = new Interrupts();
  return await work(interrupts.signal);
}

function showStack(error: Error, stderr: Output): void {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    stderr.write(`${at.stack ?? at.message}\n`);
    if (at instanceof SuppressedError && at.error instanceof Error) showStack(at.error, stderr);
    if (at instanceof SuppressedError && at.suppressed instanceof Error) showStack(at.suppressed, stderr);
  }
}
