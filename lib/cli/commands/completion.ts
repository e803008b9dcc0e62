/**
 * `nydus-gd completion`: prints a completion script for a shell.
 *
 * @module
 */
import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { examples, type Run } from "../command.ts";
import { type ShellName, SHELLS } from "../completion_script.ts";

/** `nydus-gd completion`. */
export interface CompletionArgs {
  readonly shell: ShellName;
}

/** Creates the command, which passes its arguments to `run`. */
export function completionCommand(run: Run<CompletionArgs>): CommandUnknownOpts {
  return new Command("completion")
    .summary("Print a completion script for a shell")
    .description("Print a completion script for a shell.")
    .addArgument(new Argument("<shell>", "the shell to print it for").choices(SHELLS))
    .addHelpText(
      "after",
      examples(
        "nydus-gd completion bash > /etc/bash_completion.d/nydus-gd",
        "nydus-gd completion zsh > /usr/local/share/zsh/site-functions/_nydus-gd",
        "nydus-gd completion fish > ~/.config/fish/completions/nydus-gd.fish",
      ),
    )
    .action((shell) => run({ shell }));
}
