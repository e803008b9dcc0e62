/**
 * Whether containerd's CRI plugin, which Kubernetes uses, can work with our snapshotter where it is told to use it.
 *
 * containerd 2.x migrates tables of older versions, and drops what it does not migrate without a word: it takes keys of
 * the table of 1.x only if that has `runtimes`. So what counts is the configuration that it prints as the one in effect
 * (`containerd config dump`). Source: containerd 2.1, `plugins/cri/images/plugin.go`, migrateConfig.
 *
 * A kubelet removes images and evicts pods by how full the file system of the snapshotter's exported root is. Without one,
 * containerd names a folder of its own that does not exist.
 *
 * @module
 */
import type { TomlTable } from "smol-toml";
import * as v from "valibot";
import { type ContainerdConfig, EXPORTED_ROOT, registrationOf } from "./containerd_config.ts";

/** Table of the CRI plugin with the keys below, in containerd 2.x. */
const TABLE_OF_2 = ["io.containerd.cri.v1.images"];
/** The same in 1.x. */
const TABLE_OF_1 = ["io.containerd.grpc.v1.cri", "containerd"];
const TABLES = [TABLE_OF_1, TABLE_OF_2, ["cri", "containerd"]];

const Cri = v.object({ snapshotter: v.string(), disable_snapshot_annotations: v.optional(v.boolean()) });

/** A problem. Both are parts of sentences. */
export interface CriProblem {
  readonly state: string;
  readonly remedy: string;
}

/**
 * What keeps a CRI plugin that is to use our snapshotter from using it; undefined if nothing does, or none is to use it.
 *
 * @param files what is configured: the main file, and its imports
 * @param ask returns what containerd makes of it; undefined if it cannot be asked
 */
export async function criProblem(
  files: readonly ContainerdConfig[],
  ask: () => Promise<ContainerdConfig | undefined>,
): Promise<CriProblem | undefined> {
  const registration = registrationOf(files);
  if (registration === undefined) return undefined;
  const { name } = registration;
  const wanted = files.toReversed().flatMap(criTablesOf).find(({ cri }) => cri.snapshotter === name);
  if (wanted === undefined) return undefined;
  const effective = await ask();
  const [used] = effective === undefined ? [wanted] : criTablesOf(effective);
  if (used === undefined) return undefined; // a containerd without this plugin
  if (used.cri.snapshotter !== name) {
    return {
      state: `containerd ignores ${wanted.place}: Kubernetes is on ${used.cri.snapshotter}, and no image is lazy`,
      remedy: `[${used.name}] with snapshotter = "${name}" and disable_snapshot_annotations = false in ` +
        (files[0]?.path ?? wanted.place),
    };
  }
  if (used.cri.disable_snapshot_annotations !== false) {
    return {
      state: `${wanted.place} keeps from ${name} what it prepares: no image is lazy, and containerd 2.1 and later ` +
        "pull none",
      remedy: "disable_snapshot_annotations = false",
    };
  }
  if (registration.exports["root"] !== undefined) return undefined;
  return {
    state: `${registration.path} does not say where ${name} keeps snapshots: a kubelet cannot tell how full the ` +
      "file system is, and does not remove images when it is",
    remedy: `root = "${EXPORTED_ROOT}" in [proxy_plugins.${name}.exports]`,
  };
}

interface CriTable {
  /** As it is written in a file: `plugins."io.containerd.cri.v1.images"`. */
  readonly name: string;
  /** The name, and its file. */
  readonly place: string;
  readonly cri: v.InferOutput<typeof Cri>;
}

/** The tables that name a snapshotter. */
function criTablesOf({ path, content }: ContainerdConfig): CriTable[] {
  return TABLES.flatMap((names) => {
    const table = names.reduce<unknown>((value, name) => (value as TomlTable | undefined)?.[name], content.plugins);
    if (!v.is(Cri, table)) return [];
    const [plugin, ...inner] = names;
    const name = [`plugins."${plugin}"`, ...inner].join(".");
    return [{ name, place: `${name} in ${path}`, cri: table }];
  });
}
