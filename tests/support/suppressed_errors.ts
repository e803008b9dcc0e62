/**
 * Makes Deno's test runner report the first failure if cleanup fails, too.
 *
 * A test that fails within the scope of `using` may fail again on disposal. The runner then reports a SuppressedError,
 * whose message describes neither failure. As it prints causes, the first failure becomes the cause.
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
