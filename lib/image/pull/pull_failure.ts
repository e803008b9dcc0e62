/**
 * Explains a registry's errors in terms of the name that the user typed.
 *
 * @module
 */
import { TransferError } from "../../backend/http/transfer_error.ts";
import type { Repository } from "../../backend/registry/repository.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { familiarReference, manifestName, type Reference } from "../../oci/reference.ts";

/** Fails for `reference`: "Cannot pull nginx:latest: <state>". */
export function cannotPull(
  code: NydusGdError["code"],
  reference: Reference,
  state: string,
  details: { readonly hint?: string; readonly cause?: unknown } = {},
): NydusGdError {
  return new NydusGdError(code, `Cannot pull ${familiarReference(reference)}: ${state}`, details);
}

/** Runs `ask`; permanent errors of the registry are reported in terms of the name. */
export async function explained<T>(reference: Reference, repository: Repository, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    throw await explanation(error, reference, repository);
  }
}

async function explanation(error: TransferError, reference: Reference, repository: Repository): Promise<NydusGdError> {
  const { host, repository: name, digest } = reference;
  if (error.code === "unauthorized") {
    const state = `${host} denies access to ${name}, or has no such repository: ${error.state}`;
    return cannotPull("unauthorized", reference, state, { hint: error.hint ?? `docker login ${host}`, cause: error });
  }
  if (error.code !== "not-found") return error;
  const wanted = manifestName(reference);
  if (!error.what.startsWith(`read manifest ${wanted} `)) {
    const state = `${host} has the name, but not everything it refers to: ${
      error.message.replace(/^Cannot /, "cannot ")
    }`;
    return cannotPull("not-found", reference, state, { hint: "push the image again", cause: error });
  }
  if (!await hasRepository(repository)) {
    const hint = `check the name; for a private repository: docker login ${host}`;
    return cannotPull("not-found", reference, `${host} has no repository ${name}`, { hint, cause: error });
  }
  const what = digest === undefined ? `tag ${wanted}` : `manifest ${wanted}`;
  return cannotPull("not-found", reference, `${host}/${name} has no ${what}`, { hint: "check the name", cause: error });
}

/** Whether the repository exists. Registries distinguish unknown repository and unknown tag only when listing tags. */
async function hasRepository(repository: Repository): Promise<boolean> {
  const path = `/v2/${repository.name}/tags/list`;
  try {
    return await repository.request(
      { method: "GET", path, what: `list tags of ${repository.description}` },
      { priority: "on-demand" },
      async (response) => {
        await response.discard();
        return true;
      },
      { capability: "resolve" },
    );
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    return !hasCode(error, "not-found");
  }
}
