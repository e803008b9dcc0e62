/**
 * Lets containers with user namespaces pass through the folders above their layers.
 *
 * @module
 */
import { type IdMaps, isMapped, rootOwner } from "./id_maps.ts";

/** Root of a user namespace, whose group the folder has, may pass through it. */
const REMAPPED_MODE = 0o710;

/** Lets root of the containers' user namespace traverse `folder` without listing it. */
export async function openToNamespace(folder: string, idMaps: IdMaps): Promise<void> {
  if (!isMapped(idMaps)) return;
  await Deno.chown(folder, Deno.uid(), rootOwner(idMaps).gid);
  await Deno.chmod(folder, REMAPPED_MODE);
}
