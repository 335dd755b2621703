/**
 * Lays out everything that PostgreSQL and the interposer find at their start: the data directory of an image, sparse, and
 * the state file that says which of its blocks are there already.
 */
import type { Random } from '@coppice/service-kit';
import { BLOCK_SIZE } from '@coppice/vocabulary';
import type { ComputeDirectory } from '../computes/compute-directory';
import { placedPages } from '../page-source/placed-pages';
import { mainForkName, localBlocks } from '../page-source/relation-files';
import { blocksIn, type FileAtStart, StateFile } from '../page-source/state-file';
import type { ComputeImage } from './compute-image';
import { type Layout, layoutOf } from './layout';
import { type ConfigurationOptions, postgresConf } from './settings';
import { writeStartFiles } from './start-files';
import { makeDirectory, type PlacedPages, replaceFile, type ServerUser, writeLayout } from './write-layout';

export interface DataDirectoryOptions {
  readonly image: ComputeImage;
  readonly directory: ComputeDirectory;
  /** Whose files they are: who must run PostgreSQL. */
  readonly user: ServerUser | undefined;
  readonly configuration: ConfigurationOptions;
  readonly random: Random;
  readonly nowSeconds: bigint;
  /** 0: none. */
  readonly storageLimitBytes: number;
  readonly signal: AbortSignal;
}

/** Only the agent's own users come in, over a socket in a private directory; the proxy has authenticated the client. */
const HBA = 'local all all trust\nlocal replication all trust\n';

export async function prepareDataDirectory(options: DataDirectoryOptions): Promise<StateFile> {
  const { image, directory, user, configuration, random, nowSeconds, storageLimitBytes, signal } = options;
  const layout = layoutOf(image);
  const warm = placedPages(image.warmPages);
  for (const path of [directory.root, directory.sockets, directory.readOnlySockets]) makeDirectory(path, user);
  await writeLayout(directory.data, layout, warm, user, signal);
  writeConfiguration(directory.data, configuration, user);
  writeStartFiles(directory.data, { image, configuration, nowSeconds, nonce: random.bytes(32) }, user);
  return StateFile.create({
    path: directory.state,
    socketPath: directory.pageSocket,
    dataDirectory: directory.data,
    nonce: random.bytes(8).readBigUInt64LE(),
    files: filesAtStart(image, layout, warm),
    blocksAtStart: image.logicalBlocks + localBlocks(layout),
    ...(storageLimitBytes > 0 && { capBlocks: blocksIn(storageLimitBytes) }),
    ...(user && { owner: user }),
  });
}

/** In the place of what `initdb` writes, where that has run. */
export function writeConfiguration(dataDirectory: string, configuration: ConfigurationOptions, user: ServerUser | undefined): void {
  replaceFile(`${dataDirectory}/postgresql.conf`, postgresConf(configuration), user);
  replaceFile(`${dataDirectory}/postgresql.auto.conf`, '', user);
  replaceFile(`${dataDirectory}/pg_hba.conf`, HBA, user);
  replaceFile(`${dataDirectory}/pg_ident.conf`, '', user);
}

/** What is laid out, and the main forks of relations of the image that are local: what is not listed besides is known to be. */
function filesAtStart(image: ComputeImage, layout: Layout, warm: PlacedPages): FileAtStart[] {
  const files: FileAtStart[] = [...layout.sparse].map(([name, size]) => {
    const blocks = warm.get(name)?.map(({ block }) => block);
    return { name, blocks: size / BLOCK_SIZE, ...(blocks && { warm: blocks }) };
  });
  const mainForks = new Set(image.relations.map(mainForkName));
  for (const name of mainForks) if (!layout.sparse.has(name)) files.push({ name, blocks: 0, gone: true });
  return files;
}
