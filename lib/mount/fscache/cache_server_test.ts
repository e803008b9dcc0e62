import assert from "node:assert/strict";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { goldenBytes } from "../../../tests/support/golden_bytes.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { until } from "../../../tests/support/until.ts";
import { CacheServer } from "./cache_server.ts";

/** As the message of {@link openMessage} asks for. */
const [VOLUME, COOKIE] = ["erofs,dom", "foo"] as const;

/** A source that is never read. */
const SOURCE = {
  sizeBytes: 8192,
  known: undefined,
  widened: (stretch: { offset: number; length: number }) => stretch,
  read: () => Promise.reject(new Error("unused")),
};

const UNKNOWN_MESSAGE = goldenBytes(`
  07 00 00 00 09 00 00 00   opcode 9
  10 00 00 00 03 00 00 00
`);

function openMessage(fd: Fd): Uint8Array<ArrayBuffer> {
  return goldenBytes(`
    05 00 00 00 00 00 00 00   msg_id 5, opcode OPEN
    2d 00 00 00 01 00 00 00
    0a 00 00 00 03 00 00 00
    ${fd.raw.toString(16).padStart(2, "0")} 00 00 00 00 00 00 00
    65 72 6f 66 73 2c 64 6f 6d 00
    66 6f 6f
  `);
}

/**
 * A file in place of the device: readable at any time, without a message at its end, and what is written to it can be
 * read there.
 */
class DeviceFile implements Disposable {
  readonly #temp = TempDir.make();
  readonly #path = this.#temp.join("device");
  readonly fd = open(this.#path, O.RDWR | O.CREAT | O.APPEND);

  send(message: Uint8Array): void {
    Deno.writeFileSync(this.#path, message, { append: true });
  }

  get text(): string {
    return Deno.readTextFileSync(this.#path);
  }

  [Symbol.dispose](): void {
    this.fd[Symbol.dispose]();
    this.#temp[Symbol.dispose]();
  }
}

Deno.test("after a failure the kernel's cache is served on, and the kernel repeats what was lost", async () => {
  using device = new DeviceFile();
  const server = new CacheServer(device.fd, 60_000);
  server.offer(VOLUME, COOKIE, SOURCE);
  server.serve();
  for (let failures = 1; failures <= 2; failures++) {
    device.send(UNKNOWN_MESSAGE);
    await until("serving has failed", () => server.counters().failures === failures);
    await until("it goes on", () => device.text.split("restore").length - 1 === failures);
  }
  device.send(openMessage(device.fd.duplicate()));
  await until("an open is answered", () => device.text.endsWith("copen 5,8192"));
  await server.end();
  assert.equal(server.counters().messages, 1);
});
