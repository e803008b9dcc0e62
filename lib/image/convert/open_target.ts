/**
 * What a user names as the target of a conversion: `oci:DIR[:TAG]`, or an image of a registry.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { OciLayout } from "../oci_layout.ts";
import type { ImageTarget } from "./image_target.ts";
import { LayoutTarget } from "./layout_target.ts";

/** @throws {NydusGdError} "usage", "exists" */
export async function openTarget(text: string): Promise<ImageTarget> {
  if (OciLayout.isNamed(text)) return await LayoutTarget.open(text);
  throw new NydusGdError("usage", `Cannot write ${text}: it is no target`, { hint: "oci:DIR[:TAG]" });
}
