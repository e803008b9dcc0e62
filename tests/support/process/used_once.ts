/**
 * A program that uses a resource of each kind once and prints how many were not disposed: tests the bundling of
 * programs.
 *
 * @module
 */
let open = 0;

class Resource implements Disposable, AsyncDisposable {
  constructor() {
    open++;
  }

  use(): number {
    return 1;
  }

  [Symbol.dispose](): void {
    open--;
  }

  [Symbol.asyncDispose](): Promise<void> {
    open--;
    return Promise.resolve();
  }
}

function atOnce(): number {
  using resource = new Resource();
  return resource.use();
}

async function awaited(): Promise<number> {
  await using resource = new Resource();
  return await Promise.resolve(resource.use());
}

atOnce();
await awaited();
console.log(open);
