import { type Amounts, type Counts, RESOURCES } from '@coppice/quotas';
import { asCoppiceError, type Clock, silentLog } from '@coppice/service-kit';
import { QuotaLedger } from '../quota-ledger';
import { Dice, Interleaver, SimProcess } from './interleaver';
import { ModelPostgres, type PostgresFlaw } from './model-postgres';
import { SimQuotaStore, type StoreFlaw } from './sim-quota-store';

export interface Flaws {
  readonly postgres?: PostgresFlaw;
  readonly store?: StoreFlaw;
}

export interface SeedReport {
  committed: number;
  exceeded: number;
  unavailable: number;
  contended: number;
  kills: number;
  losses: number;
  /** The largest epoch: how often counters were set anew. */
  epochs: number;
}

const AGENT = 'agent';
const LIMITS = { projects: 3, branches: 5 };
const PROCESSES = 3;
const TASKS = 3;
const STEPS = 500;
const QUIET_STEPS = 20_000;

/** One run: a storm of creations, deletions, recounts, crashes and losses; then quiet, in which counters must come to equal the truth. */
export async function runSeed(seed: number, flaws: Flaws = {}): Promise<SeedReport> {
  const dice = new Dice(seed);
  const failures = dice.unit() * 0.04;
  const crashes = dice.unit() * 0.01;
  const losses = dice.unit() * 0.02;
  const interleaver = new Interleaver(dice);
  const postgres = new ModelPostgres(interleaver, dice, failures, flaws.postgres);
  const store = new SimQuotaStore(interleaver, dice, failures, flaws.store);
  const clock = new StepClock();
  const report: SeedReport = {
    committed: 0,
    exceeded: 0,
    unavailable: 0,
    contended: 0,
    kills: 0,
    losses: 0,
    epochs: 0,
  };
  let storm = true;

  const start = (): SimProcess => {
    const process = new SimProcess();
    const ledger = new QuotaLedger({
      store: store.for(process),
      truth: postgres.truthFor(process),
      log: silentLog(),
      clock,
    });
    for (let i = 0; i < TASKS; i++) void task(process, ledger);
    return process;
  };

  const task = async (process: SimProcess, ledger: QuotaLedger): Promise<void> => {
    while (storm) {
      await interleaver.pause(process);
      try {
        await act(process, ledger);
      } catch (error) {
        const { kind, code } = asCoppiceError(error);
        if (kind === 'QuotaExceeded') report.exceeded++;
        else if (code === 'quota-contended') report.contended++;
        else if (kind === 'Unavailable') report.unavailable++;
        else throw error;
      }
    }
  };

  const act = async (process: SimProcess, ledger: QuotaLedger): Promise<void> => {
    const amounts: Amounts = { projects: dice.upTo(1), branches: dice.upTo(2) };
    const what = dice.unit();
    if (what < 0.6) {
      const spending = { agentId: AGENT, wants: amounts, limits: LIMITS };
      await ledger.spend(spending, (epoch) => postgres.insert(process, epoch, amounts));
      report.committed++;
    } else if (what < 0.95) {
      const { removed, epoch } = await postgres.remove(process, amounts);
      await ledger.giveBack(AGENT, removed, epoch);
    } else {
      await ledger.recount(AGENT);
    }
  };

  const processes = Array.from({ length: PROCESSES }, start);
  for (let step = 0; step < STEPS; step++) {
    await interleaver.step();
    clock.move(dice.upTo(200));
    if (dice.chance(losses)) {
      store.loseEverything();
      report.losses++;
    }
    if (dice.chance(crashes)) {
      const victim = dice.upTo(PROCESSES - 1);
      interleaver.kill(processes[victim]!);
      postgres.kill(processes[victim]!);
      processes[victim] = start();
      report.kills++;
    }
    expectWithinLimits(seed, postgres.rows);
    await expectCoverage(seed, store, postgres);
  }

  storm = false;
  for (let step = 0; await interleaver.step(); step++) {
    expectWithinLimits(seed, postgres.rows);
    if (step === QUIET_STEPS) throw new Error(`seed ${seed}: work never ends`);
  }
  await expectRepair(seed, store, postgres, interleaver, clock);
  report.epochs = postgres.epoch;
  return report;
}

/** Quiet: a recount, tried until the network lets it through, makes the counters equal the truth. */
async function expectRepair(
  seed: number,
  store: SimQuotaStore,
  postgres: ModelPostgres,
  interleaver: Interleaver,
  clock: Clock,
): Promise<void> {
  const process = new SimProcess();
  const ledger = new QuotaLedger({
    store: store.for(process),
    truth: postgres.truthFor(process),
    log: silentLog(),
    clock,
  });
  let done = false;
  const sweep = async (): Promise<void> => {
    while (!done)
      await ledger.recount(AGENT).then(
        () => (done = true),
        () => undefined,
      );
  };
  void sweep();
  while (await interleaver.step());
  const counters = await store.now(AGENT);
  if (counters?.epoch !== postgres.epoch || !equal(counters.counts, postgres.rows))
    throw new Error(
      `seed ${seed}: counters ${text(counters)} are not the truth ${text(postgres)} once quiet`,
    );
}

function expectWithinLimits(seed: number, rows: Counts): void {
  if (rows.projects > LIMITS.projects || rows.branches > LIMITS.branches)
    throw new Error(`seed ${seed}: ${text(rows)} exceeds the limits ${text(LIMITS)}`);
}

/** Counters of the current epoch cover all rows. */
async function expectCoverage(seed: number, store: SimQuotaStore, postgres: ModelPostgres): Promise<void> {
  const counters = await store.now(AGENT);
  if (counters?.epoch !== postgres.epoch) return;
  for (const resource of RESOURCES)
    if (counters.counts[resource] < postgres.rows[resource])
      throw new Error(`seed ${seed}: counters ${text(counters)} do not cover ${text(postgres.rows)}`);
}

function equal(a: Counts, b: Counts): boolean {
  return RESOURCES.every((resource) => a[resource] === b[resource]);
}

function text(value: unknown): string {
  const { epoch, rows } = value as { epoch?: number; rows?: Counts };
  return JSON.stringify(rows ? { epoch, rows } : value);
}

class StepClock implements Clock {
  #nowMs = 0;
  move(ms: number): void {
    this.#nowMs += ms;
  }
  now(): number {
    return this.#nowMs;
  }
  monotonic(): number {
    return this.#nowMs;
  }
  sleep(): Promise<void> {
    return Promise.reject(new Error('nobody sleeps here'));
  }
}
