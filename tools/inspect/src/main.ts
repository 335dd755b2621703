/** Prints PostgreSQL's files for people: WAL segments, `pg_control`, `pg_filenode.map`. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { decodeControlFile, decodeRelationMap } from '@coppice/postgres';
import { formatLsn, parseLsn, toLsnNumber, type LsnNumber } from '@coppice/vocabulary';
import { printWal } from './print-wal';

const program = new Command('inspect').description('print files of PostgreSQL and of this system');

program
  .command('wal')
  .description('print the records of consecutive WAL segment files')
  .argument('<file...>', 'segment files, in order, under their own names')
  .option('--from <lsn>', 'start at this record end instead of the first one in the files', lsnOption)
  .option('--to <lsn>', 'stop before the first record that starts here or later', lsnOption)
  .option('--rmgr <name>', 'only records of this resource manager')
  .action((files: string[], options: { from?: LsnNumber; to?: LsnNumber; rmgr?: string }) => {
    const end = printWal(files, options, (line) => console.log(line));
    console.log(`end of WAL at ${formatLsn(end)}`);
  });

program
  .command('control')
  .description('print a pg_control file')
  .argument('<file>')
  .action((file: string) => {
    const { checkpointLsn, checkpoint, nonce: _nonce, ...rest } = decodeControlFile(readFileSync(file));
    console.log({
      ...rest,
      checkpointLsn: formatLsn(checkpointLsn),
      checkpoint: { ...checkpoint, redo: formatLsn(checkpoint.redo) },
    });
  });

program
  .command('relmap')
  .description('print a pg_filenode.map file')
  .argument('<file>')
  .action((file: string) => {
    for (const { catalog, fileNumber } of decodeRelationMap(readFileSync(file)))
      console.log(`${catalog} → ${fileNumber}`);
  });

try {
  program.parse();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

function lsnOption(text: string): LsnNumber {
  const lsn = parseLsn(text);
  if (lsn === undefined) throw new InvalidArgumentError('not a position like 16/B374D848');
  return toLsnNumber(lsn);
}
