export * from './brand';
export * from './fencing';
export * from './fork';
export * from './ids';
export * from './lsn';
export * from './page-key';
export * from './timestamp';
