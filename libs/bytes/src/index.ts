export * from './byte-reader';
export * from './byte-writer';
export * from './crc32c';
