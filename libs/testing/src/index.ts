export * from './servers/postgres';
export * from './servers/postgres-binaries';
export * from './split-everywhere';
