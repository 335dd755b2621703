export * from './file-object-store';
export * from './memory-object-store';
export * from './object-key';
export * from './object-store';
export * from './open-object-store';
export * from './s3-object-store';
