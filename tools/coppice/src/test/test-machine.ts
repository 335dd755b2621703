/** What the tests need beside the project's own packages, from Debian: clients of PostgreSQL and a real S3. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

interface Need {
  readonly packages: readonly string[];
  readonly for: string;
  readonly present: () => boolean;
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
];

/** Installs what is missing when it may (root on Debian); otherwise says what will be skipped. */
export function prepareTestMachine(): void {
  const missing = NEEDS.filter((need) => !need.present());
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
