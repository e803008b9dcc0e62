/**
 * Fuzzes command lines of any words, and names of folders.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Actions } from "../../lib/cli/actions.ts";
import { runCli } from "../../lib/cli/program.ts";
import { placeOf, statePath } from "../../lib/image/mount/mount_state.ts";
import { TextMutator } from "../support/fuzz/mutate_text.ts";
import { fuzz } from "../support/fuzz/target.ts";

const LINES = [
  ["mount", "image.boot", "/mnt/image", "--blob-dir", "./blobs", "--background"],
  ["mount", "registry.example.com:5000/app:1", "../mnt", "--config", "c.json", "--fs-driver", "fuse"],
  ["umount", "/mnt/image"],
  ["serve", "--root", "/var/lib/x", "--socket", "/run/x.sock", "--admin-socket", "a", "--settings", "s.toml"],
  ["status", "--watch", "-o", "json"],
  ["--log-level", "debug", "--log-format=json", "version"],
  ["completion", "bash"],
  ["mount", "--help"],
];
const FLAGS = ["--", "-", "-o", "--root", "--config", "--blob-dir=x", "--fs-driver", "--help", "--version", "mount"];

/** Words that can be passed to a process. */
function wordsOf(text: string): string[] | undefined {
  let words: unknown;
  try {
    words = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const isWord = (word: unknown) => typeof word === "string" && !word.includes("\0");
  return Array.isArray(words) && words.every(isWord) ? words.map((word: string) => word.toWellFormed()) : undefined;
}

fuzz(import.meta, {
  name: "command lines",
  inputs: () => new TextMutator(LINES.map((words) => JSON.stringify(words)), { json: true, words: FLAGS }),
  open: () => async (text) => {
    const words = wordsOf(text);
    if (words === undefined) return;
    let shown = "", asked: object | undefined;
    const output = { isTerminal: false, write: (more: string) => void (shown += more) };
    const errors = { isTerminal: false, write: (more: string) => void (shown += more) };
    const take = () => Promise.resolve((args: object) => Promise.resolve(void (asked = args)));
    const actions: Actions = { serve: take, mount: take, umount: take, status: take };
    const { signal } = new AbortController();
    const code = await runCli(words, { actions, stdout: output, stderr: errors, signal });
    assert.ok(code === 0 || code === 2, `exit status ${code}`);
    if (code === 2) assert.match(shown, /^(nydus-gd: cannot .*\nhint: .*\n|Usage: nydus-gd )/);
    // deno-lint-ignore no-control-regex
    else assert.doesNotMatch(shown, /\x1b/);
    for (const value of Object.values(asked ?? {})) {
      const typed = typeof value === "object" && value !== null && "path" in value ? value.path : value;
      if (typeof typed !== "string") continue;
      const isTyped = words.some((word) => word === typed || word.endsWith(`=${typed}`) || word === `-o${typed}`);
      assert.ok(isTyped || DEFAULTS.has(typed), `${typed} was not typed`);
    }
  },
});

/** Defaults of omitted options. */
const DEFAULTS = new Set([
  "auto",
  "text",
  "/var/lib/nydus-gd",
  "/var/lib/nydus/config.json",
  "/etc/nydus-gd/settings.toml",
  "/run/docker/plugins/nydus-gd.sock",
  "/run/nydus-gd/admin.sock",
]);

fuzz(import.meta, {
  name: "places of mounts",
  inputs: () =>
    new TextMutator(["/mnt/image", "mnt", "../x/", ".", "/", "/etc/hostname/x", "/proc/self/cwd/../x", "//a//b//"], {
      words: ["/", "//", "..", "/..", "/./", "/etc", "/proc/self/root", "/dev/null", "x".repeat(256), "\n"],
    }),
  open: () => async (text) => {
    const typed = text.replaceAll("\0", "").toWellFormed();
    const place = await placeOf(typed);
    assert.match(place, /^\//);
    assert.match(statePath(place), /^\/var\/lib\/nydus-gd\/mounts\/[0-9a-f]{16}$/);
  },
});
