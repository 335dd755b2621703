import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describeRecord, type WalRecord, WalStreamDecoder } from '@coppice/postgres';
import { captureGoldenWal, goldenScenarios } from './golden-wal';

/** Where the unit tests of the decoder find them. `COPPICE_UPDATE_GOLDEN=1` writes them anew. */
const TESTDATA = join(__dirname, '../../../postgres/src/testdata');
const SEGMENT_SIZE = 1024 * 1024;

describe.each(Object.entries(goldenScenarios))('WAL of the scenario "%s"', (name, scenario) => {
  it('is read as PostgreSQL reads it', async () => {
    const golden = await captureGoldenWal(scenario);
    const records: WalRecord[] = [];
    const decoder = new WalStreamDecoder(golden.from, { segmentSize: SEGMENT_SIZE });
    decoder.push(golden.bytes, (record) => records.push(record));
    expect(records.map(describeAsPostgres)).toEqual(golden.lines);
    if (process.env['COPPICE_UPDATE_GOLDEN']) {
      await mkdir(TESTDATA, { recursive: true });
      await writeFile(join(TESTDATA, `${name}.wal.gz`), gzipSync(golden.bytes, { level: 9 }));
      await writeFile(join(TESTDATA, `${name}.txt`), [String(golden.from), ...golden.lines, ''].join('\n'));
    }
  });

  it('is among the golden files', async () => {
    expect(existsSync(join(TESTDATA, `${name}.wal.gz`))).toBe(true);
    expect((await readFile(join(TESTDATA, `${name}.txt`), 'utf8')).split('\n').length).toBeGreaterThan(10);
  });
});

function describeAsPostgres(record: WalRecord): string {
  return describeRecord(record)
    .replace(/ 0x[0-9a-f]{2} len/, ' len')
    .replace(/ origin \d+/, '')
    .replace(/ top \d+/, '');
}
