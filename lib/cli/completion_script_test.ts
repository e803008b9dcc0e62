import assert from "node:assert/strict";
import { Argument, Command, Option } from "@commander-js/extra-typings";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { completionScript } from "./completion_script.ts";

function program(): Command {
  return new Command("prog-x")
    .addOption(new Option("--log-level <level>", "how much").choices(["info", "error"]))
    .addCommand(
      new Command("mount").description("Mount [it]: now, it's there").argument("<file>")
        .addOption(new Option("-d, --driver <name>", "data path").choices(["auto", "fuse"]))
        .option("--config <file>", "a file").option("--background", "go on"),
    )
    .addCommand(
      new Command("shell").addArgument(new Argument("<shell>", "which").choices(["bash", "fish"]))
        .addOption(new Option("--driver <name>", "another").choices(["none"])),
    ) as Command;
}

/** Returns bash's completions for a command line whose last word is incomplete. */
async function complete(words: string[]): Promise<string[]> {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const script = `${completionScript("bash", program())}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _prog_x; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, success } = await new Deno.Command("bash", { args: ["--norc", "-c", script], stderr: "inherit" })
    .output();
  assert.ok(success);
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
}

Deno.test("bash completes commands, options, and choices of options and arguments", async () => {
  assert.deepEqual(await complete(["prog-x", ""]), ["mount", "shell", "help", "--log-level", "-h", "--help"]);
  assert.deepEqual(await complete(["prog-x", "mo"]), ["mount"]);
  assert.deepEqual(await complete(["prog-x", "--log-level", "e"]), ["error"]);
  assert.deepEqual(await complete(["prog-x", "--log-level", "info", "s"]), ["shell"]);
  assert.deepEqual(await complete(["prog-x", "mount", "--b"]), ["--background"]);
  assert.deepEqual(await complete(["prog-x", "mount", "-d", ""]), ["auto", "fuse"]);
  assert.deepEqual(await complete(["prog-x", "shell", ""]), ["bash", "fish"]);
  assert.deepEqual(await complete(["prog-x", "help", "s"]), ["shell"]);
});

Deno.test("bash completes a value of the command's own option, also behind =", async () => {
  assert.deepEqual(await complete(["prog-x", "shell", "--driver", ""]), ["none"]);
  assert.deepEqual(await complete(["prog-x", "mount", "--driver", "="]), ["auto", "fuse"]);
  assert.deepEqual(await complete(["prog-x", "mount", "--driver", "=", "f"]), ["fuse"]);
  assert.deepEqual(await complete(["prog-x", "--log-level", "=", "info", "mount", "--b"]), ["--background"]);
});

Deno.test("bash completes file names with spaces, as they are or escaped", async () => {
  using temp = TempDir.make();
  await Deno.writeTextFile(temp.join("a b"), "");
  for (const typed of ["a", "a\\ ", '"a ']) {
    const [start, slash] = typed.startsWith('"') ? ['"', typed.slice(1)] : ["", typed];
    assert.deepEqual(await complete(["prog-x", "mount", `${start}${temp.path}/${slash}`]), [temp.join("a b")]);
  }
});

Deno.test("bash completes file names where no choice is known", async () => {
  assert.deepEqual(
    await complete(["prog-x", "mount", "/etc/host"]),
    await complete(["prog-x", "mount", "--config", "/etc/host"]),
  );
  assert.ok((await complete(["prog-x", "mount", "/etc/host"])).includes("/etc/hosts"));
});

Deno.test("zsh and fish scripts contain every command and option, quoted", () => {
  const zsh = completionScript("zsh", program());
  assert.match(zsh, /^#compdef prog-x\n/);
  assert.ok(zsh.includes(`'mount[Mount \\[it\\]\\: now, it'\\''s there]'`));
  assert.ok(zsh.includes("'--driver[data path]:value:(auto fuse)'"));
  assert.ok(zsh.endsWith("\nif [[ $funcstack[1] = _prog-x ]]; then _prog_x; else compdef _prog_x prog-x; fi\n"));
  const fish = completionScript("fish", program());
  assert.ok(fish.includes("-n __fish_use_subcommand -a mount -d 'Mount [it]: now, it\\'s there'"));
  assert.ok(fish.includes(`-s d -l driver -x -a "auto fuse" -d 'data path'`));
});
