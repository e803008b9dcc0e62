/**
 * Waits until the machine is ours: figures that were measured beside other work say little.
 *
 * While this process waits, everything that /proc/stat counts is the work of others. Time that a hypervisor took is not
 * in it.
 *
 * @module
 */

/** Share of all CPUs that others may use. */
const LIMIT = 0.15;
const WINDOW_MS = 500;

/** Waits before each measure, as long as there is patience left. */
export class Quiet {
  #waitedMs = 0;
  #measures = 0;
  /** Measures that began although others were at work, and the most that those used. */
  #disturbed = 0;
  #worst = 0;

  /** @param patienceMs longest time to wait in all */
  constructor(private readonly patienceMs: number) {}

  /** Resolves when others use less than {@link LIMIT}, or patience is at its end. */
  async wait(): Promise<void> {
    this.#measures++;
    for (;;) {
      const share = await shareOfOthers();
      if (share < LIMIT) return;
      this.#waitedMs += WINDOW_MS;
      if (this.#waitedMs <= this.patienceMs) continue;
      this.#disturbed++;
      this.#worst = Math.max(this.#worst, share);
      return;
    }
  }

  /** How quiet it was, in a sentence. */
  get report(): string {
    if (this.#disturbed === 0) return `${this.#measures} measures, each on a quiet machine`;
    const worst = `${Math.round(this.#worst * 100)} %`;
    return `${this.#disturbed} of ${this.#measures} measures began while other processes used up to ${worst} of the CPUs`;
  }
}

async function shareOfOthers(): Promise<number> {
  const before = await cpuTimes();
  await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
  const after = await cpuTimes();
  return (after.busy - before.busy) / Math.max(1, after.total - before.total);
}

/** Ticks of all CPUs since boot. */
async function cpuTimes(): Promise<{ busy: number; total: number }> {
  const [line = ""] = (await Deno.readTextFile("/proc/stat")).split("\n", 1);
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line.split(/\s+/)
    .slice(1).map(Number);
  const busy = user + nice + system + irq + softirq;
  return { busy, total: busy + idle + iowait + steal };
}
