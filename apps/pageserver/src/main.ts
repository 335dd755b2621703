import { connect, controlInternalContract, grpcServer, pageserverContract, serve } from '@coppice/contracts';
import { configTable, createLog, part, printConfig, readConfig, runService, systemClock } from '@coppice/service-kit';
import { toLsnNumber } from '@coppice/vocabulary';
import { Compactor } from './maintenance/compactor';
import { evictor } from './maintenance/evictor';
import { Flusher } from './maintenance/flusher';
import { PageServer } from './read/get-pages';
import { PageCache } from './read/page-cache';
import { TimelineReader } from './read/timeline-reader';
import { Receivers } from './receive/receivers';
import { Reporter } from './receive/reporter';
import { connectSafekeepers } from './receive/safekeepers';
import { openObjectStore } from '@coppice/object-store';
import { pageserverService } from './server/pageserver-service';
import { Attachment } from './storage/attachment';
import { LayerReader } from './storage/layer-reader';
import type { Timeline } from './storage/timeline';
import { Timelines } from './storage/timelines';

const MIB = 1024 * 1024;

const CONFIG = configTable({
  nodeId: { env: 'COPPICE_PAGESERVER_ID', type: 'string', default: 'pageserver-1', about: 'Name of this pageserver.' },
  address: { env: 'COPPICE_PAGESERVER_ADDRESS', type: 'string', about: 'Where it listens: unix:/path or host:port.' },
  controlAddress: { env: 'COPPICE_CONTROL_ADDRESS', type: 'string', about: 'Where the control-plane listens.' },
  safekeepers: { env: 'COPPICE_SAFEKEEPERS', type: 'list', about: 'Safekeepers as id=address, comma-separated.' },
  objectStore: { env: 'COPPICE_OBJECT_STORE', type: 'string', about: 'Where layers are kept: file:/directory or s3://bucket/prefix?endpoint=….' },
  openLayerMib: { env: 'COPPICE_OPEN_LAYER_MIB', type: 'integer', default: 64, min: 1, max: 1024, about: 'Memory of one timeline\'s newest versions before they are written, MiB.' },
  maxFrozenLayers: { env: 'COPPICE_MAX_FROZEN_LAYERS', type: 'integer', default: 3, min: 1, max: 64, about: 'Unwritten layers of one timeline beyond which its ingest waits.' },
  unwrittenMib: { env: 'COPPICE_UNWRITTEN_MIB', type: 'integer', default: 768, min: 8, about: 'Memory of all timelines\' newest versions together, MiB.' },
  flushAfterMs: { env: 'COPPICE_FLUSH_AFTER_MS', type: 'integer', default: 10_000, min: 10, about: 'Time after which new versions are written at the latest, milliseconds.' },
  blockCacheMib: { env: 'COPPICE_BLOCK_CACHE_MIB', type: 'integer', default: 256, min: 1, about: 'Memory for unpacked layer blocks, MiB.' },
  indexCacheMib: { env: 'COPPICE_INDEX_CACHE_MIB', type: 'integer', default: 64, min: 1, about: 'Memory for layer indexes, MiB.' },
  pageCacheMib: { env: 'COPPICE_PAGE_CACHE_MIB', type: 'integer', default: 256, min: 1, about: 'Memory for rebuilt pages, MiB.' },
  maxLoadedTimelines: { env: 'COPPICE_MAX_LOADED_TIMELINES', type: 'integer', default: 10_000, min: 1, about: 'Timelines in memory beyond which idle ones leave it.' },
  timelineIdleMs: { env: 'COPPICE_TIMELINE_IDLE_MS', type: 'integer', default: 600_000, min: 1000, about: 'Time without use after which a timeline leaves memory, milliseconds.' },
  maxReceivers: { env: 'COPPICE_MAX_RECEIVERS', type: 'integer', default: 256, min: 1, about: 'Announced timelines that receive WAL at once.' },
  reportEveryMs: { env: 'COPPICE_REPORT_EVERY_MS', type: 'integer', default: 200, min: 10, about: 'Time between reports of positions to safekeepers, milliseconds.' },
});

async function main(): Promise<never> {
  const config = readConfig(CONFIG);
  const log = createLog('pageserver');
  log.info({ config: printConfig(CONFIG, config) }, 'starting');

  const control = connect(controlInternalContract, { address: config.controlAddress, identity: 'pageserver' });
  const safekeepers = connectSafekeepers(config.safekeepers, 'pageserver');
  const store = await openObjectStore(config.objectStore);

  const attachment = new Attachment({
    log,
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
  const receivers = new Receivers({ timelines, safekeepers, reader, log, maxAnnounced: config.maxReceivers, onProgress: (timeline) => reporter.moved(timeline) });

  const service = pageserverService({
    store,
    attachment,
    timelines,
    reader,
    pages: new PageServer(reader),
    want: (timeline, lsn) => receivers.want(timeline, lsn),
    clock: systemClock,
    log,
  });

  return runService({
    log,
    parts: [
      part('control-plane client', () => undefined, () => control.close()),
      part('attachment', () => attachment.start(), () => attachment.stop()),
      reporter,
      flusher,
      compactor,
      evictor(timelines, log),
      receivers,
      grpcServer({ address: config.address, services: [serve(pageserverContract, service)], log }),
    ],
  });
}

void main();
