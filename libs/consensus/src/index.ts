export * from './acceptor';
export * from './invariant';
export * from './membership';
export * from './messages';
export * from './proposer';
export * from './quorum';
export * from './term-history';
