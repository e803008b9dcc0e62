/**
 * Writes log records to standard error: as text on a terminal, otherwise as one JSON document per line.
 *
 * ```
 * 12:03:04.123 info    layer: layer mounted layer=7c9e… fsDriver=fuse durationMs=12
 * {"time":"2025-01-01T12:03:04.123Z","level":"info","logger":"layer","message":"layer mounted","layer":"7c9e…"}
 * ```
 * Secrets are redacted here, at the sink, whatever a record contains: see redact.ts.
 *
 * @module
 */
import { configureSync, type LogRecord } from "@logtape/logtape";
import { styleText } from "node:util";
import type { LogControl, LogStyle, Output } from "./actions.ts";
import { hasColours, oneLine } from "./output.ts";
import { redact, redactText } from "./redact.ts";

/** Terminal sequence that erases a progress line: start of the line, erase to its end. */
const CLEAR = "\r\x1b[K";

/** Log level and format, and which of them the user set. */
export interface LogOptions extends LogStyle {
  readonly explicit: Readonly<Record<keyof LogStyle, boolean>>;
}

const STYLE = {
  trace: "gray",
  debug: "gray",
  info: "cyan",
  warning: "yellow",
  error: "red",
  fatal: "red",
} as const;

/** Sends the log records of this thread to `output`. */
export function configureLogging(output: Output, options: LogOptions): LogControl {
  let { level, format } = options;
  const coloured = hasColours(output);
  const isText = () => format === "text" || (format === "auto" && output.isTerminal);
  // LogTape catches what a sink throws, so that a closed log does not end the program
  const lineOf = (record: LogRecord) => isText() ? textLine(record, coloured) : jsonLine(record);
  const sink = (record: LogRecord) => output.write(`${output.isTerminal ? CLEAR : ""}${lineOf(record)}`);
  const apply = () =>
    configureSync({
      reset: true,
      sinks: { output: sink },
      loggers: [
        { category: "nydus-gd", sinks: ["output"], lowestLevel: level },
        { category: ["logtape", "meta"], sinks: ["output"], lowestLevel: "error" },
      ],
    });
  const setLevel = (next: LogStyle["level"]) => {
    level = next;
    apply();
  };
  apply();
  return {
    get level() {
      return level;
    },
    get format() {
      return format;
    },
    setLevel,
    follow(settings) {
      if (!options.explicit.format) format = settings.format;
      if (!options.explicit.level) setLevel(settings.level);
    },
  };
}

/** Formats a record as a line of text. */
export function textLine(record: LogRecord, coloured = false): string {
  const time = new Date(record.timestamp).toISOString().slice(11, 23);
  const level = record.level.padEnd(7);
  const properties = Object.entries(redactedProperties(record)).map(([key, value]) => ` ${key}=${inText(value)}`);
  const shown = coloured ? styleText(STYLE[record.level], level, { validateStream: false }) : level;
  return `${time} ${shown} ${loggerName(record)}: ${oneLine(messageOf(record))}${properties.join("")}\n`;
}

/** Formats a record as a JSON document. The four fields of the record override properties of the same name. */
export function jsonLine(record: LogRecord): string {
  return JSON.stringify({
    ...redactedProperties(record),
    time: new Date(record.timestamp).toISOString(),
    level: record.level,
    logger: loggerName(record),
    message: messageOf(record),
  }) + "\n";
}

function loggerName(record: LogRecord): string {
  return record.category.slice(record.category[0] === "nydus-gd" ? 1 : 0).join(".");
}

function messageOf(record: LogRecord): string {
  return redactText(record.message.map((part) => typeof part === "string" ? part : inText(redact(part))).join(""));
}

function redactedProperties(record: LogRecord): Record<string, unknown> {
  const redacted = redact(record.properties);
  return typeof redacted === "object" && redacted !== null ? redacted as Record<string, unknown> : {};
}

function inText(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  return /^[^\s"=]+$/.test(text) || typeof value !== "string" ? oneLine(text) : JSON.stringify(text);
}
