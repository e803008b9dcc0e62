/**
 * Generates completion scripts for bash, zsh and fish from commander's command tree.
 *
 * The scripts are static: completion never starts this program. Options with choices complete those; other options and
 * arguments complete file names.
 *
 * @module
 */
import type { CommandUnknownOpts, Option } from "@commander-js/extra-typings";

/** Shells with a completion script. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type ShellName = (typeof SHELLS)[number];

/** The parts of a command that completion needs. */
interface Words {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionWords[];
  /** Choices of the arguments; empty: file names. */
  readonly argumentChoices: readonly string[];
  readonly takesArguments: boolean;
}

interface OptionWords {
  readonly flags: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  /** Empty: file names. */
  readonly choices: readonly string[];
}

/** Returns the script for `shell` to source. */
export function completionScript(shell: ShellName, program: CommandUnknownOpts): string {
  const name = program.name();
  const commands = program.createHelp().visibleCommands(program).map(wordsOf);
  const topics = commands.map((command) => command.name);
  const offered = commands.map((each) => each.name === "help" ? { ...each, argumentChoices: topics } : each);
  const global = wordsOf(program).options;
  const make = { bash: bashScript, zsh: zshScript, fish: fishScript }[shell];
  return make(name, global, offered);
}

function wordsOf(command: CommandUnknownOpts): Words {
  const help = command.createHelp();
  return {
    name: command.name(),
    description: command.summary() || command.description(),
    options: help.visibleOptions(command).map(optionWords),
    argumentChoices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    takesArguments: command.registeredArguments.length > 0,
  };
}

function optionWords(option: Option): OptionWords {
  return {
    flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
    description: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  };
}

function flagsOf(options: readonly OptionWords[]): string[] {
  return options.flatMap((option) => option.flags);
}

function bashScript(name: string, global: readonly OptionWords[], commands: readonly Words[]): string {
  const fn = `_${name.replaceAll("-", "_")}`;
  const reply = (choices: readonly string[]) =>
    choices.length === 0 ? `${fn}_files` : `${fn}_words "${choices.join(" ")}"`;
  const values = (options: readonly OptionWords[], indent: string) =>
    options.filter((option) => option.takesValue)
      .map((option) => `${indent}${option.flags.join("|")}) ${reply(option.choices)}; return ;;\n`).join("");
  const cases = commands.map((command) => {
    const rest = command.takesArguments ? reply(command.argumentChoices) : "COMPREPLY=()";
    return `    ${command.name})
      case $previous in
${values(command.options, "        ")}      esac
      if [[ $word == -* ]]; then ${reply([...flagsOf(command.options), ...flagsOf(global)])}; else ${rest}; fi ;;`;
  });
  const valued = flagsOf(global.filter((option) => option.takesValue)).join("|");
  const names = commands.map((command) => command.name);
  return `# bash completion for ${name}
${fn}_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$word"); }
${fn}_files() {
  compopt -o filenames 2>/dev/null
  word=\${word#[\\'\\"]}
  mapfile -t COMPREPLY < <(compgen -f -- "\${word//\\\\/}")
}
${fn}() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} command= i
  # --option=value comes as three words
  if [[ $word == = ]]; then word=; elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD - 2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${valued}) ((i++)); if [[ \${COMP_WORDS[i]} == = ]]; then ((i++)); fi ;;
      -*) ;;
      *) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $previous in
${values(global, "    ")}  esac
  case $command in
    "") ${reply([...names, ...flagsOf(global)])} ;;
${cases.join("\n")}
  esac
}
complete -F ${fn} ${name}
`;
}

function zshScript(name: string, global: readonly OptionWords[], commands: readonly Words[]): string {
  const fn = `_${name.replaceAll("-", "_")}`;
  const lines = (options: readonly OptionWords[]) =>
    options.map((option) => ` \\\n        ${zshOption(option)}`).join("");
  const cases = commands.map((command) => {
    const reply = command.argumentChoices.length === 0 ? "_files" : `(${command.argumentChoices.join(" ")})`;
    const rest = command.takesArguments ? ` \\\n        ${zshQuote(`*:argument:${reply}`)}` : "";
    return `    ${command.name})\n      _arguments${lines([...command.options, ...global])}${rest} ;;`;
  });
  return `#compdef ${name}
${fn}() {
  local context state line
  _arguments -C${lines(global)} \\
        '1:command:->command' '*::argument:->argument' && return
  case $state in
  command)
    _values command${
    commands.map((command) => ` \\\n      ${zshQuote(`${command.name}[${zshText(command.description)}]`)}`).join("")
  } ;;
  argument)
    case $line[1] in
${cases.join("\n")}
    esac ;;
  esac
}
# as a file of $fpath this is run for the first completion, which it has to give
if [[ $funcstack[1] = _${name} ]]; then ${fn}; else compdef ${fn} ${name}; fi
`;
}

function zshOption(option: OptionWords): string {
  const value = !option.takesValue
    ? ""
    : `:value:${option.choices.length === 0 ? "_files" : `(${option.choices.join(" ")})`}`;
  return option.flags.map((flag) => zshQuote(`${flag}[${zshText(option.description)}]${value}`)).join(" ");
}

function zshText(text: string): string {
  return text.replace(/[[\]:\\]/g, "\\$&");
}

function zshQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function fishScript(name: string, global: readonly OptionWords[], commands: readonly Words[]): string {
  const line = (condition: string, option: OptionWords) => {
    const flags = option.flags.map((flag) => flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`);
    const value = !option.takesValue
      ? ""
      : option.choices.length === 0
      ? " -r -F"
      : ` -x -a "${option.choices.join(" ")}"`;
    return `complete -c ${name}${condition} ${flags.join(" ")}${value} -d ${fishQuote(option.description)}`;
  };
  return [
    `# fish completion for ${name}`,
    `complete -c ${name} -f`,
    ...global.map((option) => line("", option)),
    ...commands.flatMap((command) => {
      const inside = ` -n "__fish_seen_subcommand_from ${command.name}"`;
      const choices = command.argumentChoices.join(" ");
      return [
        `complete -c ${name} -n __fish_use_subcommand -a ${command.name} -d ${fishQuote(command.description)}`,
        ...command.options.map((option) => line(inside, option)),
        ...(command.takesArguments
          ? [`complete -c ${name}${inside} ${choices === "" ? "-F" : `-a "${choices}"`}`]
          : []),
      ];
    }),
    "",
  ].join("\n");
}

function fishQuote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
