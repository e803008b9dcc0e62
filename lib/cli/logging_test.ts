import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { resetSync } from "@logtape/logtape";
import { logger } from "../base/log.ts";
import { configureLogging, jsonLine, textLine } from "./logging.ts";
import { redact, redactText } from "./redact.ts";

const record = (properties: Record<string, unknown>): LogRecord => ({
  category: ["nydus-gd", "mount", "fuse"],
  level: "info",
  message: ["layer mounted"],
  rawMessage: "layer mounted",
  timestamp: Date.UTC(2025, 0, 2, 3, 4, 5, 6),
  properties,
});

const SET_NOTHING = { level: false, format: false };

Deno.test("a text record is one line whatever its properties contain", () => {
  assert.equal(
    textLine(record({ layer: "ab", path: "a b\n\x1b[2J", count: 3, nested: { a: [1n] } })),
    '03:04:05.006 info    mount.fuse: layer mounted layer=ab path="a b\\n\\u001b[2J" count=3 nested={"a":["1"]}\n',
  );
});

Deno.test("a JSON record is one document whose own fields take precedence", () => {
  assert.deepEqual(JSON.parse(jsonLine(record({ layer: "ab", level: "forged", size: 5n }))), {
    layer: "ab",
    size: "5",
    time: "2025-01-02T03:04:05.006Z",
    level: "info",
    logger: "mount.fuse",
    message: "layer mounted",
  });
});

Deno.test("the level can be changed at run time, and applies to our loggers only", () => {
  let text = "";
  const control = configureLogging(
    { isTerminal: false, write: (more) => void (text += more) },
    { level: "warning", format: "auto", explicit: SET_NOTHING },
  );
  try {
    logger("layer").info("not shown");
    control.setLevel("debug");
    logger("layer").debug("shown", { id: 1 });
    assert.equal(control.level, "debug");
    assert.deepEqual(text.trim().split("\n").map((line) => JSON.parse(line).message), ["shown"]);
  } finally {
    resetSync();
  }
});

Deno.test("settings of the log apply unless the user set level or format", () => {
  const settings = { level: "debug", format: "text" } as const;
  const lineWith = (explicit: typeof SET_NOTHING) => {
    let text = "";
    const output = { isTerminal: false, write: (more: string) => void (text += more) };
    const control = configureLogging(output, { level: "info", format: "json", explicit });
    try {
      control.follow(settings);
      logger("layer").debug("debugged");
      logger("layer").info("mounted");
      return text;
    } finally {
      resetSync();
    }
  };
  assert.match(lineWith(SET_NOTHING), /^\S+ debug +layer: debugged\n\S+ info +layer: mounted\n$/);
  assert.match(lineWith({ level: true, format: false }), /^\S+ info +layer: mounted\n$/);
  assert.match(lineWith({ level: true, format: true }), /^\{.*"message":"mounted"\}\n$/);
});

Deno.test("a broken pipe of the log does not throw", () => {
  const write = () => {
    throw new Deno.errors.BrokenPipe();
  };
  configureLogging({ isTerminal: false, write }, { level: "info", format: "json", explicit: SET_NOTHING });
  try {
    logger("layer").info("lost");
  } finally {
    resetSync();
  }
});

Deno.test("secrets are redacted by name and by form", () => {
  assert.deepEqual(
    redact({
      password: "p",
      registryToken: "t",
      headers: new Map([["Authorization", "Basic dXNlcjpwYXNz"]]),
      auth: { username: "u", password: "p" },
      tokens: 3,
      secret: undefined,
      author: "me",
      access_key_id: "AKIA",
      access_key_secret: "s",
    }),
    {
      password: "[redacted]",
      registryToken: "[redacted]",
      headers: { Authorization: "[redacted]" },
      auth: "[redacted]",
      tokens: 3,
      secret: undefined,
      author: "me",
      access_key_id: "AKIA",
      access_key_secret: "[redacted]",
    },
  );
  assert.equal(redactText("GET https://u:p@h/v2/?a=1"), "GET https://[redacted]@h/v2/?a=1");
  assert.equal(redactText("https://h/v2/x@sha256:00"), "https://h/v2/x@sha256:00");
  assert.equal(redactText("authorization: Bearer eyJ.a-b_c="), "authorization: Bearer [redacted]");
  assert.equal(
    redactText("https://b/o?X-Amz-Signature=abc&partNumber=1"),
    "https://b/o?X-Amz-Signature=[redacted]&partNumber=1",
  );
});

Deno.test("errors, cyclic objects and bytes can be logged", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  assert.deepEqual(redact(cycle), { self: "[circular]" });
  assert.deepEqual(redact(new Uint8Array(3)), "[3 bytes]");
  const error = new Error("Cannot read https://u:p@h/", { cause: new TypeError("x") });
  assert.deepEqual(redact(error), {
    name: "Error",
    message: "Cannot read https://[redacted]@h/",
    cause: { name: "TypeError", message: "x" },
  });
});
