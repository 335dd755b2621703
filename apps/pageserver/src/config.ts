import { SECURITY_CONFIG } from '@coppice/contracts';
import { configTable, metricsConfig } from '@coppice/service-kit';

/** Settings of the pageserver. */
export const CONFIG = configTable({
  nodeId: {
    env: 'COPPICE_PAGESERVER_ID',
    type: 'string',
    default: 'pageserver-1',
    about: 'Name of this pageserver.',
  },
  address: {
    env: 'COPPICE_PAGESERVER_ADDRESS',
    type: 'string',
    about: 'Where it listens: unix:/path or host:port.',
  },
  controlAddress: {
    env: 'COPPICE_CONTROL_ADDRESS',
    type: 'string',
    about: 'Where the control-plane listens.',
  },
  safekeepers: {
    env: 'COPPICE_SAFEKEEPERS',
    type: 'list',
    about: 'Safekeepers as id=address, comma-separated.',
  },
  objectStore: {
    env: 'COPPICE_OBJECT_STORE',
    type: 'string',
    about: 'Where layers are kept: file:/directory or s3://bucket/prefix?endpoint=….',
  },
  openLayerMib: {
    env: 'COPPICE_OPEN_LAYER_MIB',
    type: 'integer',
    default: 64,
    min: 1,
    max: 1024,
    about: "Memory of one timeline's newest versions before they are written, MiB.",
  },
  maxFrozenLayers: {
    env: 'COPPICE_MAX_FROZEN_LAYERS',
    type: 'integer',
    default: 3,
    min: 1,
    max: 64,
    about: 'Unwritten layers of one timeline beyond which its ingest waits.',
  },
  unwrittenMib: {
    env: 'COPPICE_UNWRITTEN_MIB',
    type: 'integer',
    default: 768,
    min: 8,
    about: "Memory of all timelines' newest versions together, MiB.",
  },
  flushAfterMs: {
    env: 'COPPICE_FLUSH_AFTER_MS',
    type: 'integer',
    default: 10_000,
    min: 10,
    about: 'Time after which new versions are written at the latest, milliseconds.',
  },
  blockCacheMib: {
    env: 'COPPICE_BLOCK_CACHE_MIB',
    type: 'integer',
    default: 256,
    min: 1,
    about: 'Memory for unpacked layer blocks, MiB.',
  },
  indexCacheMib: {
    env: 'COPPICE_INDEX_CACHE_MIB',
    type: 'integer',
    default: 64,
    min: 1,
    about: 'Memory for layer indexes, MiB.',
  },
  pageCacheMib: {
    env: 'COPPICE_PAGE_CACHE_MIB',
    type: 'integer',
    default: 256,
    min: 1,
    about: 'Memory for rebuilt pages, MiB.',
  },
  maxLoadedTimelines: {
    env: 'COPPICE_MAX_LOADED_TIMELINES',
    type: 'integer',
    default: 10_000,
    min: 1,
    about: 'Timelines in memory beyond which idle ones leave it.',
  },
  timelineIdleMs: {
    env: 'COPPICE_TIMELINE_IDLE_MS',
    type: 'integer',
    default: 600_000,
    min: 1000,
    about: 'Time without use after which a timeline leaves memory, milliseconds.',
  },
  maxReceivers: {
    env: 'COPPICE_MAX_RECEIVERS',
    type: 'integer',
    default: 256,
    min: 1,
    about: 'Announced timelines that receive WAL at once.',
  },
  reportEveryMs: {
    env: 'COPPICE_REPORT_EVERY_MS',
    type: 'integer',
    default: 200,
    min: 10,
    about: 'Time between reports of positions to safekeepers, milliseconds.',
  },
  ...metricsConfig(7444),
  ...SECURITY_CONFIG,
});
