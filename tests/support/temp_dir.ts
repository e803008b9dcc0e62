/**
 * A directory that exists as long as a test runs.
 *
 * @module
 */
import "./suppressed_errors.ts"; // removal fails, too, if the directory is in use when its test fails

/** `using dir = TempDir.make();` removes it with its content. */
export class TempDir implements Disposable {
  private constructor(readonly path: string) {}

  /** @param parent parent directory; default: the system's directory for temporary files */
  static make(parent?: string): TempDir {
    return new TempDir(
      Deno.makeTempDirSync({ prefix: "nydus-gd-test-", ...(parent === undefined ? {} : { dir: parent }) }),
    );
  }

  /** Path of a name in it. */
  join(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
