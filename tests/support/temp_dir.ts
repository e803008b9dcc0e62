/**
 * A directory that is there as long as a test runs.
 *
 * @module
 */
import "./suppressed_errors.ts"; // a folder that is in use when its test fails cannot be removed either

/** `using dir = TempDir.make();` removes it with all that is in it. */
export class TempDir implements Disposable {
  private constructor(readonly path: string) {}

  /** @param parent where to make it; default: the system's directory for temporary files */
  static make(parent?: string): TempDir {
    return new TempDir(
      Deno.makeTempDirSync({ prefix: "nydus-gd-test-", ...(parent === undefined ? {} : { dir: parent }) }),
    );
  }

  /** The path of a name below it. */
  join(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
