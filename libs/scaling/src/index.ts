export * from './decide';
export * from './load';
export * from './memory-limits';
export * from './sizes';
