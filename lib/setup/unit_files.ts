/**
 * The units of systemd.
 *
 * @module
 */

/** The daemon's. */
export const SERVICE = "nydus-gd.service";
