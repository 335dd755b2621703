export * from './oracles/capture-wal';
export * from './oracles/waldump-oracle';
export * from './servers/postgres';
export * from './servers/postgres-binaries';
export * from './split-everywhere';
export * from './oracles/base-pages';
export * from './oracles/page-oracle';
export * from './oracles/page-replay';
