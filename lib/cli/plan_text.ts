/**
 * Text output of setup's plan: the diff of every file, the service commands, and notes.
 *
 * ```
 * --- /etc/docker/daemon.json
 * +++ /etc/docker/daemon.json
 * @@ …
 *
 * Then:
 *   systemctl daemon-reload
 *   systemctl restart docker.service
 *
 * Note:
 *   Restarting Docker stops 2 running containers: web, db. …
 * ```
 *
 * @module
 */
import { styleText } from "node:util";
import { diffOf } from "../setup/file_change.ts";
import type { Plan } from "../setup/plan.ts";
import { oneLine, type TextLook, wrapped } from "./output.ts";

/** Returns the text, including line ends. */
export function planText({ changes, services, notes }: Plan, { hasColours, columns = Infinity }: TextLook): string {
  const list = (heading: string, lines: readonly string[]) => {
    const all = lines.flatMap((line) => wrapped(oneLine(line), columns - 2));
    return all.length === 0 ? [] : [`${heading}:\n${all.map((line) => `  ${line}\n`).join("")}`];
  };
  return [
    ...changes.map((change) => hasColours ? coloured(diffOf(change)) : diffOf(change)),
    ...list("Then", services.map((words) => `systemctl ${words.join(" ")}`)),
    ...list("Note", notes),
  ].map((part) => `${part}\n`).join("");
}

function coloured(diff: string): string {
  const paint = (line: string) => {
    const style = /^(---|\+\+\+) /.test(line)
      ? "bold"
      : line[0] === "+"
      ? "green"
      : line[0] === "-"
      ? "red"
      : undefined;
    return style === undefined ? line : styleText(style, line, { validateStream: false });
  };
  return diff.split("\n").map(paint).join("\n");
}
