export * from './wal/record';
export * from './redo/page-value';
export * from './redo/slru-layout';
export * from './redo/small-records';
export * from './redo/visibility-map';
export * from './protocol/messages';
export * from './protocol/scram';
export * from './protocol/startup';
