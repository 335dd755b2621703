import { connect, controlInternalContract, grpcServer, pageserverContract, securityOf, serve } from '@coppice/contracts';
import { createLog, metricsServer, part, printConfig, readConfig, runService, systemClock } from '@coppice/service-kit';
import { toLsnNumber } from '@coppice/vocabulary';
import { CONFIG } from './config';
import { Compactor } from './maintenance/compactor';
import { evictor } from './maintenance/evictor';
import { Flusher } from './maintenance/flusher';
import { PageServer } from './read/get-pages';
import { LogicalSizes } from './read/logical-size';
import { PageCache } from './read/page-cache';
import { TimelineReader } from './read/timeline-reader';
import { Receivers } from './receive/receivers';
import { Reporter } from './receive/reporter';
import { connectSafekeepers } from './receive/safekeepers';
import { openObjectStore } from '@coppice/object-store';
import { pageserverService } from './server/pageserver-service';
import { Attachment } from './storage/attachment';
import { announceAttachment } from './storage/attachments';
import { LayerReader } from './storage/layer-reader';
import type { Timeline } from './storage/timeline';
import { Timelines } from './storage/timelines';

const MIB = 1024 * 1024;

async function main(): Promise<never> {
  const config = readConfig(CONFIG);
  const log = createLog('pageserver');
  log.info({ config: printConfig(CONFIG, config) }, 'starting');

  const security = securityOf(config, 'pageserver');
  const control = connect(controlInternalContract, { address: config.controlAddress, security });
  const safekeepers = connectSafekeepers(config.safekeepers, security);
  const store = await openObjectStore(config.objectStore);

  const attachment = new Attachment({
    log,
    announce: (generation, signal) => announceAttachment(store, generation, signal),
    attach: async (signal) => (await control.attachPageserver({ nodeId: config.nodeId, address: config.address }, { signal })).generation,
  });
  const timelines = new Timelines({
    store,
    attachment,
    limits: { openLayerBytes: config.openLayerMib * MIB, maxFrozenLayers: config.maxFrozenLayers },
    facts: async (timelineId) => {
      const { ancestorId, ancestorLsn, systemIdentifier } = await control.getTimeline({ timelineId });
      return { ancestor: ancestorId && { timeline: ancestorId, lsn: toLsnNumber(ancestorLsn) }, systemIdentifier };
    },
    maxLoaded: config.maxLoadedTimelines,
    idleMs: config.timelineIdleMs,
    onFrozen: (timeline) => flusher.write(timeline),
  });
  const layers = new LayerReader({ store, blockCacheBytes: config.blockCacheMib * MIB, indexCacheBytes: config.indexCacheMib * MIB });
  const reader = new TimelineReader(layers, new PageCache(config.pageCacheMib * MIB));

  const logicalSizes = new LogicalSizes(reader);

  const reporter = new Reporter({ safekeepers, attachment, log, everyMs: config.reportEveryMs });
  const compactor = new Compactor({ store, attachment, layers, reader, log, loaded: () => timelines.loaded });
  const flusher = new Flusher({
    store,
    attachment,
    log,
    loaded: () => timelines.loaded,
    flushAfterMs: config.flushAfterMs,
    maxUnwrittenBytes: config.unwrittenMib * MIB,
    onDurable: (timeline: Timeline) => {
      reporter.moved(timeline);
      compactor.nudge();
    },
  });
  const receivers = new Receivers({ timelines, safekeepers, reader, logicalSizes, log, maxAnnounced: config.maxReceivers, onProgress: (timeline) => reporter.moved(timeline) });

  const service = pageserverService({
    store,
    attachment,
    timelines,
    reader,
    logicalSizes,
    pages: new PageServer(reader),
    want: (timeline, lsn) => receivers.want(timeline, lsn),
    endIngest: (timelineId) => receivers.end(timelineId),
    clock: systemClock,
    log,
  });

  return runService({
    log,
    parts: [
      metricsServer({ ...config, log }),
      part('control-plane client', () => undefined, () => control.close()),
      part('attachment', () => attachment.start(), () => attachment.stop()),
      reporter,
      flusher,
      compactor,
      evictor(timelines, log),
      receivers,
      grpcServer({ address: config.address, services: [serve(pageserverContract, service)], log, security }),
    ],
  });
}

void main();
