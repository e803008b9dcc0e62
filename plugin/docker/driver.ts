/**
 * The graph driver across restarts: remembers which home it serves, and serves it again when only this program
 * restarts.
 *
 * dockerd sends Init when it starts, not when the plugin does, so home and options are kept in a state file, twice:
 * without it, programs that read lazy images would wait until dockerd starts anew.
 *
 * @module
 */
import * as v from "valibot";
import { ignore, messageOf, NydusGdError } from "../../lib/base/errors.ts";
import { KeyedMutex } from "../../lib/base/keyed_mutex.ts";
import { logger } from "../../lib/base/log.ts";
import { TwofoldFile } from "../../lib/base/twofold_file.ts";
import { type IdMaps, NO_ID_MAPS } from "../../lib/layer/userns/id_maps.ts";
import type { LayerStore } from "../../lib/layer/layer_store.ts";
import { HOME_REMEDY } from "../../lib/layer/home/served_home.ts";
import { readInit, STORAGE_OPTIONS, type StorageOptions } from "./init_options.ts";
import type { InitRequest } from "./protocol.ts";

/** Dependencies of a driver. */
export interface GraphDriverParts {
  /** JSON file that survives restarts, beside its copy; its folder exists. */
  readonly stateFile: string;
  /** Opens the layers in `home` with the options of dockerd's `--storage-opt` and `--userns-remap`. */
  openStore(home: string, options: StorageOptions, idMaps: IdMaps): Promise<LayerStore>;
}

const id = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const RangeSchema = v.object({ containerId: id, hostId: id, size: id });

const StateSchema = v.object({
  home: v.string(),
  options: v.object(v.entriesFromList(STORAGE_OPTIONS, v.optional(v.string()))),
  idMaps: v.optional(v.object({ uids: v.array(RangeSchema), gids: v.array(RangeSchema) }), NO_ID_MAPS),
});

/** Parameters of the last Init. */
interface Wanted {
  readonly home: string;
  readonly options: StorageOptions;
  readonly idMaps: IdMaps;
}

interface Serving extends Wanted {
  readonly store: LayerStore;
}

const log = logger("docker");

/** One graph driver; serves one home at a time. */
export class GraphDriver implements AsyncDisposable {
  readonly #parts: GraphDriverParts;
  readonly #state: TwofoldFile<typeof StateSchema>;
  readonly #inits = new KeyedMutex<"init">();
  #serving: Serving | undefined;

  /** @param wasUsed whether dockerd has ever called an earlier process */
  private constructor(parts: GraphDriverParts, private readonly wasUsed: boolean) {
    this.#parts = parts;
    this.#state = stateOf(parts.stateFile);
  }

  /**
   * Resumes what was served before, or waits for the first Init. Also waits for a home that is missing: dockerd has to
   * create it.
   *
   * @throws {NydusGdError} if the home cannot be opened, in particular "busy" while another process serves it
   */
  static async resume(parts: GraphDriverParts): Promise<GraphDriver> {
    const found = await stateOf(parts.stateFile).read();
    const driver = new GraphDriver(parts, found !== undefined);
    if (found === undefined) return driver;
    const state = wantedOf(found);
    if (!await isThere(state.home)) {
      log.warn("home is gone, waiting for dockerd", { home: state.home });
      return driver;
    }
    await driver.#state.mend(state);
    driver.#serving = { ...state, store: await parts.openStore(state.home, state.options, state.idMaps) };
    return driver;
  }

  /** The layer store. @throws {NydusGdError} "unavailable" before the first Init */
  get store(): LayerStore {
    if (this.#serving !== undefined) return this.#serving.store;
    throw new NydusGdError("unavailable", "Cannot serve layers: dockerd has sent no GraphDriver.Init yet", {
      hint: HOME_REMEDY,
    });
  }

  /** Whether there has been an Init, in this process or an earlier one. */
  get ready(): boolean {
    return this.#serving !== undefined;
  }

  /** Whether dockerd has never called, so that there are no layers of Docker. */
  get unused(): boolean {
    return !this.wasUsed && !this.ready;
  }

  /**
   * A dockerd starts: serves its home from now on, also after a restart.
   *
   * @throws {NydusGdError} "busy" for another home while layers of the present one are mounted
   */
  init(request: InitRequest): Promise<void> {
    return this.#inits.run("init", async () => {
      const wanted = readInit(request);
      const { home, options, idMaps } = wanted;
      const before = this.#serving;
      if (before === undefined || !isSame(before, wanted)) {
        if (before !== undefined) await this.#leave(before, home);
        this.#serving = { ...wanted, store: await this.#parts.openStore(home, options, idMaps) };
        await this.#state.write(wanted);
        log.info("graph driver initialised", { home, ...options });
      }
      await this.store.beginAnew();
    });
  }

  /** Releases the home; mounts stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inits.run("init", async () => {
      await this.#serving?.store.close();
      this.#serving = undefined;
    });
  }

  async #leave(before: Serving, home: string): Promise<void> {
    const { mountedCount } = before.store;
    if (before.home !== home && mountedCount > 0) {
      const state = `${mountedCount} layers of "${before.home}" are mounted`;
      throw new NydusGdError("busy", `Cannot serve home "${home}": ${state}`, {
        hint: "stop the containers of the other Docker data-root first",
      });
    }
    this.#serving = undefined;
    await before.store.close();
  }
}

/** @throws {NydusGdError} "io" if the home cannot be checked: an invalid path, or a file in its way */
async function isThere(home: string): Promise<boolean> {
  try {
    return await ignore(Deno.errors.NotFound, Deno.stat(home)) !== undefined;
  } catch (error) {
    const state = messageOf(error);
    throw new NydusGdError("io", `Cannot open home ${JSON.stringify(home)}: ${state}`, { cause: error });
  }
}

function isSame(before: Wanted, { home, options, idMaps }: Wanted): boolean {
  const text = (wanted: Omit<Wanted, "home">) => JSON.stringify([wanted.options, wanted.idMaps]);
  return before.home === home && text(before) === text({ options, idMaps });
}

function stateOf(path: string): TwofoldFile<typeof StateSchema> {
  return new TwofoldFile(path, StateSchema, HOME_REMEDY);
}

function wantedOf({ home, options, idMaps }: v.InferOutput<typeof StateSchema>): Wanted {
  const set = Object.entries(options).filter(([, setting]) => setting !== undefined);
  return { home, options: Object.fromEntries(set), idMaps };
}
