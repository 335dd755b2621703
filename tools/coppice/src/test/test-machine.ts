/**
 * What the tests need beside the project's own packages, from Debian: clients of PostgreSQL, a real S3 and a real Redis,
 * which are installed, and parts of PostgreSQL 17, which are only unpacked (`pg17-extras.ts`).
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { preparePg17Extras } from './pg17-extras';

interface Need {
  readonly packages: readonly string[];
  readonly for: string;
  readonly present: () => boolean;
  /** Tests do without it. */
  readonly benchesOnly?: boolean;
}

const onPath = (name: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some((dir) => existsSync(`${dir}/${name}`));

const NEEDS: readonly Need[] = [
  {
    packages: ['postgresql-client-15', 'postgresql-15'],
    for: 'psql, pgbench and pg_amcheck',
    present: () => existsSync('/usr/lib/postgresql/15/bin/pgbench'),
  },
  {
    packages: ['ceph-mon', 'ceph-osd', 'radosgw'],
    for: 'a real S3 server',
    present: () => onPath('radosgw') && onPath('ceph-osd') && onPath('ceph-mon'),
  },
  {
    packages: ['redis-server'],
    for: 'a real Redis',
    present: () => onPath('redis-server'),
  },
  {
    packages: ['pgbouncer'],
    for: 'the baseline of the proxy bench',
    present: () => existsSync('/usr/sbin/pgbouncer'),
    benchesOnly: true,
  },
];

/** Gets what is missing where it can; otherwise says what will be skipped. Never fails the run. */
export function prepareTestMachine({ benches = false } = {}): void {
  installPackages(NEEDS.filter((need) => benches || !need.benchesOnly));
  preparePg17Extras();
}

/** Installs when it may: as root on Debian. */
function installPackages(needs: readonly Need[]): void {
  const missing = needs.filter((need) => !need.present());
  if (missing.length === 0) return;
  const packages = missing.flatMap((need) => need.packages);
  if (process.getuid?.() !== 0 || !onPath('apt-get')) {
    for (const need of missing)
      console.log(`missing ${need.for}: install ${need.packages.join(' ')}; tests that need it are skipped`);
    return;
  }
  console.log(`== installing ${packages.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]): number | null =>
    spawnSync('apt-get', args, { stdio: ['ignore', 'ignore', 'inherit'], env }).status;
  apt('update', '-q');
  if (apt('install', '-y', '-q', '--no-install-recommends', ...packages) !== 0)
    console.log(`apt-get could not install ${packages.join(' ')}`);
}
