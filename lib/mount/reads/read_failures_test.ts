import assert from "node:assert/strict";
import type { Logger } from "@logtape/logtape";
import { NydusGdError } from "../../base/errors.ts";
import type { KnownImage } from "./known_image.ts";
import { FailureLog, ReadFailure } from "./read_failures.ts";

/** A log of failures, and its lines: message, image and blob, cause, and the place that was given. */
function failureLog(): { failures: FailureLog; logged: () => unknown[][] } {
  const lines: unknown[][] = [];
  const error = (message: string, { image, blob, cause, ...place }: Record<string, unknown>) =>
    lines.push([message, image, blob, cause, place]);
  return { failures: new FailureLog({ error } as unknown as Logger), logged: () => lines.splice(0) };
}

function imageOf(number: number): KnownImage {
  const blobs = ["a", "b"].map((id) => ({ id }));
  return { number, image: { name: `image-${number}`, blobs }, blobs: [] } as unknown as KnownImage;
}

const unavailable = new NydusGdError("unavailable", "Cannot reach x: refused");
const corrupt = new NydusGdError("corrupt", "Cannot read chunk 1: wrong digest");

Deno.test("a failed read is logged once per image, blob and kind, until a read of the blob succeeds", () => {
  const { failures, logged } = failureLog();
  const [first, second] = [imageOf(1), imageOf(2)];
  const fail = (known: KnownImage, blob: string, cause: unknown) =>
    failures.failed(known, { ino: 7 }, new ReadFailure(blob, cause));
  fail(first, "a", unavailable);
  assert.deepEqual(logged(), [["read failed", "image-1", "a", "Cannot reach x: refused", { ino: 7 }]]);
  fail(first, "a", new NydusGdError("unavailable", "Cannot reach y: refused"));
  assert.deepEqual(logged(), [], "the same kind");
  fail(first, "a", corrupt);
  fail(first, "b", unavailable);
  fail(second, "a", unavailable);
  failures.failed(first, { ino: 8 }, new Error("foreign"));
  assert.deepEqual(logged().map(([, ...line]) => line), [
    ["image-1", "a", "Cannot read chunk 1: wrong digest", { ino: 7 }],
    ["image-1", "b", "Cannot reach x: refused", { ino: 7 }],
    ["image-2", "a", "Cannot reach x: refused", { ino: 7 }],
    ["image-1", "", "foreign", { ino: 8 }],
  ]);
  failures.succeeded(first, "a");
  for (const known of [first, second]) for (const blob of ["a", "b"]) fail(known, blob, corrupt);
  fail(first, "a", unavailable);
  assert.deepEqual(logged().map(([, image, blob, cause]) => [image, blob, cause]), [
    ["image-1", "a", corrupt.message],
    ["image-1", "b", corrupt.message],
    ["image-2", "a", corrupt.message],
    ["image-2", "b", corrupt.message],
    ["image-1", "a", unavailable.message],
  ]);
});

Deno.test("damage of an image is logged once per cause, of many causes sixteen, and all again once it is forgotten", () => {
  const { failures, logged } = failureLog();
  const known = imageOf(1);
  failures.damaged(known, "lookup", 5, "inode 5 is wrong");
  failures.damaged(known, "read", 6, "inode 5 is wrong");
  assert.deepEqual(logged(), [
    ["image is damaged", "image-1", undefined, "inode 5 is wrong", { operation: "lookup", ino: 5 }],
  ]);
  for (let ino = 100; ino < 130; ino++) failures.damaged(known, "lookup", ino, `inode ${ino} is wrong`);
  assert.equal(logged().length, 15);
  for (const blob of ["a", "b"]) failures.failed(known, {}, new ReadFailure(blob, unavailable));
  assert.equal(logged().length, 2, "the limit is per blob");
  failures.forget(known);
  failures.damaged(known, "lookup", 129, "inode 129 is wrong");
  for (const blob of ["a", "b"]) failures.failed(known, {}, new ReadFailure(blob, unavailable));
  assert.equal(logged().length, 3);
});
