export * from './wal/record';
