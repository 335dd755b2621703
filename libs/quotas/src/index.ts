export * from './exceeded-text';
export * from './period';
export * from './resources';
export * from './storage-allowance';
export * from './token-bucket';
export * from './verdict';
