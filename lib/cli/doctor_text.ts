/**
 * Text output of `nydus-gd doctor`.
 *
 * ```
 * nydus-gd 0.1.0 on Linux 6.1.0-18-amd64
 *
 * kernel
 *   ok    version                 Linux 6.1.0-18-amd64, x86_64
 *   FAIL  FUSE                    Cannot open "/dev/fuse": ENOENT
 *                                 fix: modprobe fuse
 *
 * 1 failed, 0 warnings, 2 skipped, 20 ok
 * ```
 *
 * @module
 */
import { styleText } from "node:util";
import { countText } from "../base/count_text.ts";
import { VERSION } from "../base/version.ts";
import type { CheckResult, Verdict } from "../doctor/check.ts";
import type { Diagnosis } from "../doctor/doctor.ts";
import { oneLine, type TextLook, wrapped } from "./output.ts";

const WORDS: Readonly<Record<Verdict, string>> = { ok: "ok", warn: "warn", fail: "FAIL", skipped: "-" };
const COLOURS = { ok: "green", warn: "yellow", fail: "red", skipped: "dim" } as const;

const WORD_WIDTH = 6;
const NAME_WIDTH = 24;
/** Columns before the texts. */
const INDENT = 2 + WORD_WIDTH + NAME_WIDTH;
/** Texts are not made narrower than this, however narrow the terminal is. */
const LEAST_WIDTH = 40;

/** Formats results one by one, with a heading before each group. */
export class DoctorText {
  #group: string | undefined;

  constructor(private readonly look: TextLook) {}

  /** Returns the first line. */
  heading(): string {
    return `nydus-gd ${VERSION} on Linux ${Deno.osRelease()}\n`;
  }

  /** Returns the text of a result, and below it the fix if there is one; of a check that was skipped, nothing is wrong. */
  result({ group, name, verdict, seen, mend }: CheckResult): string {
    const heading = group === this.#group ? "" : `\n${this.#style("bold", group)}\n`;
    this.#group = group;
    const word = this.#style(COLOURS[verdict], WORDS[verdict].padEnd(WORD_WIDTH));
    const [first = "", ...more] = this.#wrapped(oneLine(seen));
    if (mend !== undefined) more.push(...this.#wrapped(`${verdict === "skipped" ? "try" : "fix"}: ${oneLine(mend)}`));
    const below = more.map((line) => `${" ".repeat(INDENT)}${line}\n`).join("");
    return `${heading}  ${word}${oneLine(name).padEnd(NAME_WIDTH - 1)} ${first}\n${below}`;
  }

  /** Returns the last line. */
  summary({ ok, warn, fail, skipped }: Diagnosis["counts"]): string {
    return `\n${fail} failed, ${countText(warn, "warning")}, ${skipped} skipped, ${ok} ok\n`;
  }

  #wrapped(text: string): string[] {
    const { columns } = this.look;
    return columns === undefined ? [text] : wrapped(text, Math.max(LEAST_WIDTH, columns - INDENT));
  }

  #style(style: "bold" | (typeof COLOURS)[Verdict], text: string): string {
    return this.look.hasColours ? styleText(style, text, { validateStream: false }) : text;
  }
}
