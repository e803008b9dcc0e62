import assert from "node:assert/strict";
import type { Output } from "./actions.ts";
import { Progress } from "./progress.ts";
import { ProgressLine } from "./progress_line.ts";

function collecting(isTerminal: boolean, size?: Output["size"]): { output: Output; text: string[] } {
  const text: string[] = [];
  return { output: { isTerminal, size, write: (more) => void text.push(more) }, text };
}

Deno.test("without a terminal a line is written per status, not per amount", () => {
  const { output, text } = collecting(false);
  {
    using progress = new Progress(output);
    for (let current = 0; current <= 100; current += 10) {
      progress.show("layer", { status: "Downloading", current, total: 100 });
    }
    progress.show("layer", { status: "Pull complete\x1b[2J" });
  }
  assert.deepEqual(text, ["layer: Downloading\n", "layer: Pull complete\\x1b[2J\n"]);
});

Deno.test("a terminal shows a bar per item, redrawn in place, the last one completely", () => {
  const { output, text } = collecting(true);
  {
    using progress = new Progress(output);
    progress.show("a", { status: "fetching", current: 0, total: 2000 });
    progress.show("long", { status: "fetching", current: 500, total: 1000 });
    progress.show("a", { status: "fetching", current: 2000, total: 2000 });
  }
  assert.equal(text[0], "a  [>                   ]  0 B of 2.00 kB\x1b[K\n");
  assert.equal(
    text[1],
    "\x1b[Aa     [>                   ]  0 B of 2.00 kB\x1b[K\nlong  [==========>         ]  500 B of 1.00 kB\x1b[K\n",
  );
  assert.equal(
    text.at(-1),
    "\x1b[A\x1b[Aa     [====================]  2.00 kB of 2.00 kB\x1b[K\n" +
      "long  [==========>         ]  500 B of 1.00 kB\x1b[K\n",
  );
  const nothing = collecting(true);
  new Progress(nothing.output)[Symbol.dispose]();
  assert.deepEqual(nothing.text, []);
});

Deno.test("bars are drawn anew below what others have written", () => {
  const text: string[] = [];
  const output = {
    isTerminal: true,
    get writes() {
      return text.length;
    },
    write: (more: string) => void text.push(more),
  };
  using progress = new Progress(output);
  progress.show("a", { status: "fetching" });
  progress.show("a", { status: "fetched" });
  output.write("log entry\n");
  progress.show("a", { status: "loaded" });
  progress.show("a", { status: "done" });
  const line = (status: string) => `a  ${status}\x1b[K\n`;
  const up = "\x1b[A";
  assert.deepEqual(
    text,
    [line("fetching"), up + line("fetched"), "log entry\n", line("loaded"), up + line("done")],
  );
});

Deno.test("a progress line is cut to the width of the terminal, so that it can be cleared", () => {
  const { output, text } = collecting(true, { columns: 16, rows: 3 });
  {
    using line = new ProgressLine(output, "unpacked");
    line.show(4_000_000, 100_000_000);
  }
  assert.deepEqual(text, ["\r\x1b[Kunpacked 4.00 …", "\r\x1b[K"]);
});

Deno.test("progress is cut to the size of the terminal, so that it can be redrawn in place", () => {
  const { output, text } = collecting(true, { columns: 12, rows: 3 });
  using progress = new Progress(output);
  progress.show("registry.example/app", { status: "resolved" });
  for (const what of ["b", "c"]) progress.show(what, { status: "fetching" });
  assert.equal(text[0], "registry.e…\x1b[K\n");
  assert.equal(text[2], "\x1b[A\x1b[Aregistry.e…\x1b[K\nb         …\x1b[K\n");
});
