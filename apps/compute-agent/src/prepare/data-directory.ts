/**
 * Lays out everything that PostgreSQL and the interposer find at their start: the data directory of an image, sparse, and
 * the state file that says which of its blocks are there already.
 */
import type { Random } from '@coppice/service-kit';
import { BLOCK_SIZE, type PageKey } from '@coppice/vocabulary';
import type { ComputeDirectory } from '../computes/compute-directory';
import { installPages, type KeyedPage, placeOf } from '../page-source/install-pages';
import { blocksIn, type FileAtStart, StateFile } from '../page-source/state-file';
import { blockRangeOf } from '../page-source/tracked-names';
import type { ComputeImage } from './compute-image';
import type { Layout } from './layout';
import { type ConfigurationOptions, postgresConf } from './settings';
import { writeStartFiles } from './start-files';
import type { SpareDirectories } from './spare-directories';
import { makeDirectory, type ServerUser, writeNewFile } from './write-layout';

export interface DataDirectoryOptions {
  readonly image: ComputeImage;
  /** Of the image. */
  readonly layout: Layout;
  readonly directory: ComputeDirectory;
  readonly spares: SpareDirectories;
  /** Pages that the start will probably want, in time; those that are not laid out are ignored. */
  readonly warmPages: Promise<readonly KeyedPage[]>;
  readonly configuration: ConfigurationOptions;
  readonly random: Random;
  readonly nowSeconds: bigint;
  /** 0: none. */
  readonly storageLimitBytes: number;
  readonly signal: AbortSignal;
}

/** Only the agent's own users come in, over a socket in a private directory; the proxy has authenticated the client. */
const HBA = 'local all all trust\nlocal replication all trust\n';

export interface PreparedDirectory {
  readonly state: StateFile;
  /** Whose files they are: who must run PostgreSQL. */
  readonly user: ServerUser | undefined;
}

export async function prepareDataDirectory(options: DataDirectoryOptions): Promise<PreparedDirectory> {
  const { layout, directory, spares, signal } = options;
  const makeRoot = (owner: ServerUser | undefined): void => {
    makeDirectory(directory.root, owner);
    makeDirectory(directory.sockets, owner);
    makeDirectory(directory.readOnlySockets, owner);
  };
  const user = await spares.lay(directory.data, layout, makeRoot, signal);
  try {
    return { state: await fill(options, user), user };
  } catch (error) {
    spares.giveBack(user);
    throw error;
  }
}

async function fill(options: DataDirectoryOptions, user: ServerUser | undefined): Promise<StateFile> {
  const { image, layout, directory, configuration, random, nowSeconds, storageLimitBytes, warmPages } = options;
  writeConfiguration(directory.data, configuration, user);
  writeStartFiles(directory.data, { image, configuration, nowSeconds, nonce: random.bytes(32) }, user);
  const warm = await installPages(directory.data, [...image.warmPages, ...(await warmPages)].filter(({ key }) => isLaidOut(layout, key)));
  return StateFile.create({
    path: directory.state,
    socketPath: directory.pageSocket,
    dataDirectory: directory.data,
    nonce: random.bytes(8).readBigUInt64LE(),
    files: trackedFiles(layout, warm),
    localBlocks: layout.localRelations.filter((path) => blockRangeOf(path)?.relation).reduce((sum, path) => sum + layout.files.get(path)!.length / BLOCK_SIZE, 0),
    ...(storageLimitBytes > 0 && { capBlocks: blocksIn(storageLimitBytes) }),
    ...(user && { owner: user }),
  });
}

export function writeConfiguration(dataDirectory: string, configuration: ConfigurationOptions, user: ServerUser | undefined): void {
  writeNewFile(`${dataDirectory}/postgresql.conf`, postgresConf(configuration), user);
  writeNewFile(`${dataDirectory}/postgresql.auto.conf`, '', user);
  writeNewFile(`${dataDirectory}/pg_hba.conf`, HBA, user);
  writeNewFile(`${dataDirectory}/pg_ident.conf`, '', user);
}

/** Whether the page exists at S and is fetched from storage. */
export function isLaidOut(layout: Layout, key: PageKey): boolean {
  const { name, block } = placeOf(key);
  return (block + 1) * BLOCK_SIZE <= (layout.sparse.get(name) ?? 0);
}

function trackedFiles(layout: Layout, warm: ReadonlyMap<string, readonly number[]>): FileAtStart[] {
  return [...layout.sparse].map(([name, size]) => {
    const present = warm.get(name);
    return { name, blocks: size / BLOCK_SIZE, ...(present && { present }) };
  });
}
