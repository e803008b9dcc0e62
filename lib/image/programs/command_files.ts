/**
 * Finds the files of an image that a command names: its program, and the programs and files among its arguments.
 *
 * ```
 * ["docker-entrypoint.sh", "node", "app/main.js"]      PATH, PATH, working directory
 * ["sh", "-c", "gcc -o /tmp/a /src/a.c && /tmp/a"]     also the words of an argument
 * ```
 * Arguments are text, not always names of files, so a word may name a file by chance.
 *
 * @module
 */
import { toByteString } from "../../base/bytes.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { findFile, type FoundFile } from "./find_file.ts";

/** A command that is about to run with an image as its root. */
export interface Command {
  /** The program, by name or path, and its arguments. */
  readonly argv: readonly string[];
  /** Folders in which programs are looked up, separated by ":". */
  readonly path: string;
  /** Absolute; relative paths start here. */
  readonly workingDir: string;
}

/** PATH of a container whose image sets none (moby 20.10 to 27, pkg/system/path.go). */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Maximum number of words looked up, so that a long script costs little. */
const MAX_WORDS = 64;

/** Longest name of a file in a path (NAME_MAX and PATH_MAX of <linux/limits.h>). */
const MAX_WORD_LENGTH = 4096;

/** What separates words in a shell; quotes and "=", since a file may be named after them. */
const SEPARATORS = /[\s;&|()<>"'`=]+/;

/**
 * Returns the regular files that `command` names, without duplicates, the program first.
 *
 * @throws {RafsError} if the tree is damaged
 */
export function commandFiles(tree: Bootstrap, command: Command): FoundFile[] {
  const files = new Map<number, FoundFile>();
  for (const word of wordsOf(command.argv)) {
    const file = fileOf(tree, word, command);
    if (file !== undefined && !files.has(file.ino)) files.set(file.ino, file);
  }
  return [...files.values()];
}

function wordsOf([program, ...args]: readonly string[]): string[] {
  if (program === undefined) return [];
  const words = new Set([program]);
  for (const arg of args) {
    words.add(arg);
    for (const word of arg.split(SEPARATORS)) words.add(word);
    if (words.size > MAX_WORDS) break;
  }
  return [...words].filter((word) => word !== "" && word.length <= MAX_WORD_LENGTH).slice(0, MAX_WORDS);
}

/** A word with a slash is a path; any other is looked up as a program first, then in the working directory. */
function fileOf(tree: Bootstrap, word: string, { path, workingDir }: Command): FoundFile | undefined {
  const folders = word.includes("/") ? [] : path.split(":");
  const paths = word.startsWith("/") ? [word] : [...folders, workingDir].map((folder) => `${folder}/${word}`);
  for (const each of paths) {
    const file = findFile(tree, toByteString(new TextEncoder().encode(each)));
    if (file !== undefined) return file;
  }
  return undefined;
}
