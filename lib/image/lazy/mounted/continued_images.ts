/**
 * Goes on serving the images of a killed or stopped process, whose mounts a keeper has held.
 *
 * ```
 * record, or what is found ─► open each image again ─► take over the session ─► LiveImage
 * ```
 * An image that cannot be opened, or that has no mount any more, is lost: its readers get errors. So is one whose number
 * is lost, on the data paths where the kernel asks by it: the kernel may use that number for anything.
 *
 * @module
 */
import { messageOf } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import type { OpenedImage } from "../open/image_opener.ts";
import type { ImageServer } from "./image_server.ts";
import { LiveImage } from "./live_image.ts";
import type { MountRecord, RecordedLayer } from "../records/mount_record.ts";

const log = logger("image");

/** An image of an earlier process, opened again. */
type ReopenedImage = OpenedImage & Pick<RecordedLayer, "fsDriver" | "isSuspect">;

/**
 * Takes over the session of an earlier process, if a keeper has one, and yields its images. The record then lists
 * these.
 *
 * @param record of the images that the process had mounted
 * @param find finds them if the record is lost
 * @param hasNumber whether the number of a layer's image is known
 * @param open opens the image of a layer
 * @throws {NydusGdError} if the session exists but cannot be taken over; it is left as it is
 */
export async function* continueImages(
  server: ImageServer,
  record: MountRecord,
  find: () => Promise<readonly RecordedLayer[]>,
  hasNumber: (layerId: string) => boolean,
  open: (layer: LazyLayer) => Promise<OpenedImage>,
): AsyncGenerator<LiveImage> {
  const reopened: ReopenedImage[] = [];
  const taken = await server.takeOver(async () => {
    const layers = withNumbers(record.isLost ? await findAgain(find) : record.list(), hasNumber);
    const images = await Promise.all(layers.map((layer) => reopen(layer, open)));
    reopened.push(...images.filter((image) => image !== undefined));
    return reopened;
  });
  if (taken === undefined) return await record.clear();
  for (const [index, opened] of reopened.entries()) {
    const mount = taken.mounts[index];
    if (mount === undefined) {
      await opened.image[Symbol.asyncDispose]();
      await record.remove(opened.layer.id);
      continue;
    }
    const isSuspect = opened.isSuspect || mount.isSuspect === true;
    const continued = new LiveImage(opened, taken.session, mount, { continued: true, isSuspect });
    await record.add(opened.layer, continued.facts); // of an older version it may lack some
    yield continued;
  }
}

async function findAgain(find: () => Promise<readonly RecordedLayer[]>): Promise<readonly RecordedLayer[]> {
  const layers = await find();
  log.warn("record of mounted images is lost, it is made again of what is mounted", { images: layers.length });
  return layers;
}

/** Logs which are without. */
function withNumbers(layers: readonly RecordedLayer[], hasNumber: (layerId: string) => boolean): RecordedLayer[] {
  const isKnown = ({ id, fsDriver }: RecordedLayer) =>
    (fsDriver !== "fuse" && fsDriver !== "erofs-fuse") || hasNumber(id);
  const lost = layers.filter((layer) => !isKnown(layer)).map(({ id }) => id);
  if (lost.length > 0) {
    log.error("images are lost with their numbers, stop and start their containers", { images: lost });
  }
  return layers.filter(isKnown);
}

/** Logs a failure and returns undefined. */
async function reopen(
  { fsDriver, isSuspect, number: _number, ...layer }: RecordedLayer,
  open: (layer: LazyLayer) => Promise<OpenedImage>,
): Promise<ReopenedImage | undefined> {
  try {
    return { ...await open(layer), fsDriver, isSuspect };
  } catch (error) {
    log.error("image of an earlier process is lost", { layer: layer.id, error: messageOf(error) });
    return undefined;
  }
}
