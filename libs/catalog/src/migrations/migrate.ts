import { type Kysely, type Migration, Migrator } from 'kysely';
import { CoppiceError } from '@coppice/service-kit';
import { up as spine } from './0001-spine';
import { up as fleet } from './0002-fleet';
import { up as scaling } from './0003-scaling';
import { up as frontDoor } from './0004-front-door';

/** Every change of the schema, in order. A released migration is never edited; the next change is the next entry. */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-spine': { up: spine },
  '0002-fleet': { up: fleet },
  '0003-scaling': { up: scaling },
  '0004-front-door': { up: frontDoor },
};

/** Brings the schema up to date. Processes that start together take turns by an advisory lock. */
export async function migrate(db: Kysely<unknown>): Promise<readonly string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...MIGRATIONS }) } });
  const { error, results } = await migrator.migrateToLatest();
  if (error) {
    throw new CoppiceError(
      'Unavailable',
      'migration-failed',
      `the metadata schema could not be brought up to date: ${error instanceof Error ? error.message : String(error)}`,
      {
        remedy: 'Check the metadata Postgres and its permissions, then start again.',
        cause: error,
      },
    );
  }
  return (results ?? []).map((r) => r.migrationName);
}
