/**
 * Has Deno's test runner tell what failed first, where something else failed while that was cleaned up after.
 *
 * A test that fails below `using` may fail once more when what it used is disposed of. The runner then knows a
 * SuppressedError, whose message says nothing of either; it shows causes, so the first failure becomes the cause.
 *
 * @module
 */
Object.defineProperty(SuppressedError.prototype, "cause", {
  configurable: true,
  get(this: SuppressedError): unknown {
    const { error, suppressed } = this;
    return new AggregateError([suppressed, error], "the test failed, then its clean-up");
  },
});
