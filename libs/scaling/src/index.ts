export * from './decide';
export * from './load';
export * from './sizes';
