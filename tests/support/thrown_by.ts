/**
 * The error with which something fails, for tests that look at it closely.
 *
 * @module
 */
import assert from "node:assert/strict";

/** What a function throws, or what its promise rejects with. */
export async function thrownBy(failing: () => unknown): Promise<unknown> {
  try {
    await failing();
  } catch (error) {
    return error;
  }
  return assert.fail("it succeeded");
}
