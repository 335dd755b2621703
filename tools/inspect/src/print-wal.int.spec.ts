import { formatLsn } from '@coppice/vocabulary';
import { currentWalPosition, flushWal, startPostgres } from '@coppice/testing';
import { printWal } from './print-wal';

it('a server’s WAL segments are printed record by record, from any record end', async () => {
  const server = await startPostgres({ settings: { autovacuum: false } });
  try {
    const from = await currentWalPosition(server);
    await server.query('create table t as select generate_series(1, 100) as i; select pg_switch_wal()');
    await server.query('insert into t values (0)');
    const to = await flushWal(server);
    const files = [server.walFile(from), server.walFile(to)];
    const all: string[] = [];
    expect(printWal(files, {}, (line) => all.push(line))).toBeGreaterThanOrEqual(to);
    const some: string[] = [];
    printWal(files, { from, to }, (line) => some.push(line));
    expect(some[0]).toMatch(new RegExp(`^${formatLsn(from)} end`));
    expect(all.join('\n')).toContain(some.join('\n'));
    const switches: string[] = [];
    printWal(files, { from, rmgr: 'xlog' }, (line) => switches.push(line));
    expect(switches.some((line) => line.includes('XLOG 0x40'))).toBe(true);
    expect(() => printWal(files.slice(1), { from }, () => undefined)).toThrow(/is not in/);
  } finally {
    await server.dispose();
  }
});
