/** `coppice check`: what services of a stack disagree about. Looks again and again at what may only be on its way. */
import { setTimeout as sleep } from 'node:timers/promises';
import { IdentityIssuer } from '@coppice/service-kit';
import { askSupervisor } from '../control-socket';
import { layoutOf } from '../layout';
import { Problem } from '../problem';
import { loadSecrets } from '../secrets';
import { SAFEKEEPERS } from '../services';
import { type Difference, meaningOf } from './difference';
import { look, type LookedAt, type Looked } from './look';
import { computesOnMachine } from './on-machine';
import { CheckedPeers } from './peers';
import { Sightings } from './sightings';

export interface CheckOptions {
  readonly dataDir: string;
  readonly json: boolean;
  /** Seconds. */
  readonly patience: number;
}

/** Between two looks, milliseconds. */
const PAUSE_MS = 500;
/** Something is always on its way in a busy stack: after this the check ends, milliseconds beyond the patience. */
const END_AFTER_MS = 120_000;

export interface Report {
  readonly differences: readonly Difference[];
  /** Differences of the last look that were not seen for long enough. */
  readonly onTheirWay: number;
  readonly looks: number;
  readonly looked: Looked;
  readonly milliseconds: number;
}

/** Prints the report; the exit code is 1 when there is any difference. */
export async function check(options: CheckOptions): Promise<void> {
  const layout = layoutOf(options.dataDir, () => undefined);
  if (!(await askSupervisor(layout.control, { command: 'status' }, 5_000)))
    throw new Problem(`no stack runs on ${layout.directory}: start one with ./coppice up`);
  const { identityKey } = await loadSecrets(layout.secretsFile, false);
  const peers = new CheckedPeers(
    {
      control: layout.address('control'),
      pageserver: layout.address('pageserver'),
      safekeepers: SAFEKEEPERS.map((n) => ({ name: `safekeeper-${n}`, address: layout.address(`sk${n}`) })),
    },
    new IdentityIssuer(identityKey),
  );
  try {
    const report = await compareStack(
      { peers, machine: () => computesOnMachine(layout.computes) },
      options.patience * 1_000,
    );
    console.log(options.json ? JSON.stringify(report) : textOf(report));
    if (report.differences.length > 0) process.exitCode = 1;
  } finally {
    peers.close();
  }
}

/** Looks until nothing is left that could still be on its way. */
async function compareStack(at: LookedAt, patienceMs: number): Promise<Report> {
  const sightings = new Sightings(patienceMs);
  const startedAt = performance.now();
  for (let looks = 1; ; looks += 1) {
    const { found, looked } = await look(at);
    const now = performance.now();
    const { confirmed, pending } = sightings.see(found, now);
    const milliseconds = Math.round(now - startedAt);
    if (pending.length === 0 || milliseconds > patienceMs + END_AFTER_MS)
      return { differences: confirmed, onTheirWay: pending.length, looks, looked, milliseconds };
    await sleep(PAUSE_MS);
  }
}

function textOf({ differences, onTheirWay, looks, looked, milliseconds }: Report): string {
  const lines: string[] = [];
  for (const kind of [...new Set(differences.map((d) => d.kind))].sort()) {
    lines.push(`${kind}: ${meaningOf(kind)}`);
    for (const d of differences.filter((other) => other.kind === kind)) {
      const of = [d.projectId && `project ${d.projectId}`, d.branchId && `branch ${d.branchId}`].filter(
        Boolean,
      );
      lines.push(`  ${d.id}  ${d.where}: ${d.detail}${of.length > 0 ? `  (${of.join(', ')})` : ''}`);
    }
  }
  const what = Object.entries(looked).map(([name, count]) => `${count} ${name}`);
  lines.push(
    `${differences.length} difference${differences.length === 1 ? '' : 's'} over ${what.join(', ')}; ${looks} look${looks === 1 ? '' : 's'} in ${milliseconds} ms` +
      (onTheirWay > 0 ? `; ${onTheirWay} still on their way: check again` : ''),
  );
  return lines.join('\n');
}
