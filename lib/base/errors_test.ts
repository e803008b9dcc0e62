import assert from "node:assert/strict";
import { firstFailure, messageOf, NydusGdError } from "./errors.ts";

/** Fails, and then fails twice more during cleanup. */
async function failThrice(): Promise<void> {
  const failing = (message: string) => ({
    [Symbol.asyncDispose]: () => Promise.reject(new Error(message)),
  });
  await using _second = failing("the second clean-up");
  await using _first = failing("the first clean-up");
  throw new NydusGdError("not-found", "Cannot do it: there is nothing");
}

Deno.test("of an error and a later one during cleanup, the first is reported", async () => {
  await assert.rejects(failThrice, (error) => {
    assert.ok(error instanceof SuppressedError);
    assert.equal(messageOf(error), "Cannot do it: there is nothing");
    assert.ok(firstFailure(error) instanceof NydusGdError);
    return true;
  });
  assert.equal(messageOf("text"), "text");
});
