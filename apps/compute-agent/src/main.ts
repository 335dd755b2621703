import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { connect, controlInternalContract, grpcServer, pageserverContract, safekeeperContract, securityOf } from '@coppice/contracts';
import { createLog, metricsServer, part, postgresBinDirectory, printConfig, readConfig, runService, Semaphore, systemClock, systemRandom } from '@coppice/service-kit';
import { Heartbeat } from './activity/heartbeat';
import { ComputeRegistry } from './computes/compute-registry';
import type { ComputeServices } from './computes/compute-services';
import { Trash } from './computes/trash';
import { AGENT_CONFIG, safekeeperAddresses, startsFor } from './config';
import { allowHugePages } from './memory/huge-pages';
import { readNodeMemory } from './memory/node-memory';
import { keepSpareMemory, withSpares } from './memory/spare-memory';
import { WarmSets } from './pageserver/warm-sets';
import { WarmSetsFile } from './pageserver/warm-sets-file';
import { Launcher } from './postgres/launcher';
import { cleanComputesDirectory } from './postgres/leftovers';
import { installInterposer, prepareInstallation } from './postgres/installation';
import { ServerUsers } from './postgres/server-users';
import { openResources } from './resources/open-resources';
import { Scaler } from './scaling/scaler';
import { computeService } from './server/compute-service';
import { TemplateBuilder } from './template/build-template';

const config = readConfig(AGENT_CONFIG);
const log = createLog('compute-agent');
log.info(printConfig(AGENT_CONFIG, config), 'starting');

const security = securityOf(config, 'compute-agent');
const pageserver = connect(pageserverContract, { address: config.pageserver, security });
const control = connect(controlInternalContract, { address: config.control, security });
const safekeepers = safekeeperAddresses(config.safekeepers).map(({ node, address }) => ({
  node,
  client: connect(safekeeperContract, { address, security }),
}));

const users = new ServerUsers({
  initdb: { uid: config.initdbUid, gid: config.initdbGid },
  firstUid: config.firstComputeUid,
  count: config.maxComputes,
});
const computesDirectory = cleanComputesDirectory(config.runDirectory, users.isRoot);
const installation = prepareInstallation(postgresBinDirectory(config.postgresBin), computesDirectory.path);

const warm = new WarmSets();
const warmFile = new WarmSetsFile({
  path: config.warmSets || join(computesDirectory.path, 'warm-sets'),
  sets: warm,
  clock: systemClock,
  log,
});
const trash = new Trash(computesDirectory.path, systemRandom, log);
const resources = openResources({ group: config.group, clock: systemClock, log });
// What processes use is dear to sum up, and where sizes are not enforced there is no hurry.
const lookEveryMs = resources.kind === 'none' ? 8 * config.lookEveryMs : config.lookEveryMs;
const scaler = new Scaler({ nodeCpus: resources.nodeCpus, times: { ...config, lookEveryMs }, clock: systemClock, log });

const startsAtOnce = config.startsAtOnce || startsFor(availableParallelism());
const launcher = new Launcher(join(__dirname, 'launcher'), log);
const spareMemory = keepSpareMemory(config.spareMemories, launcher, log);

const services: ComputeServices = {
  computesDirectory: computesDirectory.path,
  installation,
  interposer: installInterposer(join(__dirname, 'interposer.so'), computesDirectory.path),
  launch: launcher.launch,
  users,
  trash,
  resources,
  scaler,
  membership: { generation: 1, members: safekeepers.map((s) => s.node) },
  safekeepers,
  pageserver,
  warm,
  // Learned anew after a restart: the first look at a compute takes longer, which nobody waits for.
  looks: new WarmSets(),
  starts: new Semaphore(startsAtOnce),
  firstLooks: new Semaphore(1),
  clock: systemClock,
  random: systemRandom,
  log,
  limits: {
    maxPageserverLagBytes: config.maxPageserverLagBytes,
    startDeadlineMs: config.startDeadlineMs,
    suspendDeadlineMs: config.suspendDeadlineMs,
    drainMs: config.drainMs,
    activityEveryMs: config.activityEveryMs,
  },
};
const computes = new ComputeRegistry(services, { maxComputes: config.maxComputes, memoryBytes: config.memoryBytes, startsAtOnce, nodeMemory: () => withSpares(readNodeMemory(), launcher.spares.bytes) });
const templates = new TemplateBuilder({ directory: computesDirectory.path, installation, users, pageserver, clock: systemClock, log });
const heartbeat = new Heartbeat({
  node: config.node,
  address: config.address,
  incarnation: systemRandom.bytes(8).toString('hex'),
  everyMs: config.heartbeatEveryMs,
  control,
  computes,
  clock: systemClock,
  log,
});

void runService({
  log,
  parts: [
    metricsServer({ ...config, log }),
    part('leftovers', () => computesDirectory.endLeftovers(systemClock, log), () => undefined),
    part('huge pages', () => void (config.hugePages && allowHugePages(log)), () => undefined),
    part('resources', () => resources.removeLeftovers(), () => resources.close()),
    part('clients', () => undefined, () => [pageserver, control, ...safekeepers.map((s) => s.client)].forEach((client) => client.close())),
    part('warm sets', () => warmFile.start(), () => warmFile.stop()),
    part('trash', () => undefined, () => trash.empty()),
    part('last report', () => undefined, () => heartbeat.stop()),
    part('scaling', () => scaler.start(), () => scaler.stop()),
    part('launcher', () => void launcher.start(), () => launcher.stop()),
    part('spare memory', () => spareMemory.start(), () => spareMemory.stop()),
    part('computes', () => undefined, () => computes.stopAll()),
    grpcServer({ address: config.address, services: [computeService(computes, templates)], log, security }),
    part('heartbeat', () => heartbeat.start(), () => undefined),
  ],
});
