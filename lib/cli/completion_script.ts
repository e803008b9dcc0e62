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
  const commands = program.commands.map(wordsOf);
  const global = wordsOf(program).options;
  const make = { bash: bashScript, zsh: zshScript, fish: fishScript }[shell];
  return make(name, global, commands);
}

function wordsOf(command: CommandUnknownOpts): Words {
  const help = command.createHelp();
  return {
    name: command.name(),
    description: command.description(),
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

function flagsOf(options: readonly OptionWords[]): string {
  return options.flatMap((option) => option.flags).join(" ");
}

function bashScript(name: string, global: readonly OptionWords[], commands: readonly Words[]): string {
  const fn = `_${name.replaceAll("-", "_")}`;
  const values = [...global, ...commands.flatMap((command) => command.options)]
    .filter((option) => option.takesValue)
    .map((option) => `    ${option.flags.join("|")}) ${bashReply(option.choices)}; return ;;`);
  const cases = commands.map((command) => {
    const flags = `${flagsOf(command.options)} ${flagsOf(global)}`;
    const rest = command.takesArguments ? bashReply(command.argumentChoices) : "COMPREPLY=()";
    return `    ${command.name})
      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "${flags}" -- "$word")); else ${rest}; fi ;;`;
  });
  const valued = global.filter((option) => option.takesValue).flatMap((option) => option.flags).join("|");
  return `# bash completion for ${name}
${fn}() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} command= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${valued}) ((i++)) ;;
      -*) ;;
      *) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  case $previous in
${[...new Set(values)].join("\n")}
  esac
  case $command in
    "") COMPREPLY=($(compgen -W "${commands.map((command) => command.name).join(" ")} ${
    flagsOf(global)
  }" -- "$word")) ;;
${cases.join("\n")}
  esac
}
complete -F ${fn} ${name}
`;
}

function bashReply(choices: readonly string[]): string {
  return choices.length === 0
    ? 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word"))'
    : `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$word"))`;
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
compdef ${fn} ${name}
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
