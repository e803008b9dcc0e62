/**
 * Support for graph-driver plugins by version of Docker.
 *
 * | dockerd | graph-driver plugins |
 * |---|---|
 * | 20.10 to 26 | with experimental features |
 * | 27 | additionally with DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1 in its environment |
 * | 28 and later | removed: an unknown driver name is taken for a snapshotter of containerd |
 *
 * @module
 */

/** Environment variable that version 27 requires. */
export const PLUGIN_VARIABLE = "DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS";

/** Support of a Docker version for graph-driver plugins. */
export type PluginSupport =
  | { readonly kind: "supported" }
  | { readonly kind: "environment"; readonly variable: typeof PLUGIN_VARIABLE }
  | { readonly kind: "removed" }
  | { readonly kind: "too-old" }
  | { readonly kind: "unknown" };

/** @param version "26.1.5+dfsg1" */
export function pluginSupport(version: string): PluginSupport {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || minor === undefined) return { kind: "unknown" };
  const release = Number(major) + Number(minor) / 100;
  if (release < 20.1) return { kind: "too-old" };
  if (release < 27) return { kind: "supported" };
  return release < 28 ? { kind: "environment", variable: PLUGIN_VARIABLE } : { kind: "removed" };
}
