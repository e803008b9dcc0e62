/**
 * Docker's part in a pull: what it is asked to do, and the resulting image.
 *
 * @module
 */
import { formatPlatform, type Platform } from "../../oci/platform.ts";
import { familiarReference } from "../../oci/reference.ts";
import type { LazyPart, Pull, PullResult } from "./pull.ts";
import { cannotPull } from "./pull_failure.ts";

/** Has Docker pull a tag or digest of the repository. */
export async function dockerPull(
  { request, parts, signal }: Pull,
  name: string,
  platform: Platform | undefined,
): Promise<void> {
  const { host, repository } = request.reference;
  await parts.docker.pull({
    repository: familiarReference({ host, repository, tag: undefined, digest: undefined }),
    name,
    platform: platform && formatPlatform(platform),
    credential: parts.logins.of(host),
    onStep: (step) => parts.onEvent({ event: "docker", ...step }),
  }, signal);
}

/** The image that Docker has after the pull. */
export async function arrived(
  { request, platform, image, parts, signal }: Pull,
  name: string,
  before: string | undefined,
  lazy: LazyPart | undefined,
): Promise<PullResult> {
  const now = await parts.docker.image(name, signal);
  if (now === undefined) {
    throw cannotPull(
      "unavailable",
      request.reference,
      `Docker reports that it has the image, but does not know ${name}`,
    );
  }
  const replaced = before === now.id ? undefined : before;
  return { name, form: image.form.kind, platform, digest: image.digest, imageId: now.id, replaced, lazy };
}
