/**
 * One configuration for every project, split by the kind of test (the suffix):
 *   unit  .spec, .property.spec, .sim.spec   pure, milliseconds
 *   int   .int.spec                          real Postgres, Redis, S3, started by the test
 *   e2e   e2e/*.e2e.spec                     real processes, killed
 *   soak  e2e/*.soak.spec                    real processes under a fixed load for COPPICE_SOAK_MINUTES
 */

const base = {
  testEnvironment: 'node',
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2022', parser: { syntax: 'typescript' } } }] },
  moduleNameMapper: { '^@coppice/(.*)$': '<rootDir>/libs/$1/src/index.ts' },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.coppice/', '<rootDir>/.cache/', '<rootDir>/.nx/'],
};

const roots = ['<rootDir>/libs', '<rootDir>/apps', '<rootDir>/tools'];

const config = {
  testTimeout: 60_000,
  projects: [
    {
      ...base,
      displayName: 'unit',
      roots,
      testMatch: ['**/*.spec.ts'],
      testPathIgnorePatterns: ['\\.int\\.spec\\.ts$'],
    },
    { ...base, displayName: 'int', roots, testMatch: ['**/*.int.spec.ts'] },
    {
      ...base,
      displayName: 'e2e',
      roots: ['<rootDir>/e2e'],
      testMatch: ['**/*.e2e.spec.ts'],
      globalSetup: '<rootDir>/e2e/src/shared-stacks/begin.mjs',
      globalTeardown: '<rootDir>/e2e/src/shared-stacks/end.mjs',
    },
    { ...base, displayName: 'soak', roots: ['<rootDir>/e2e'], testMatch: ['**/*.soak.spec.ts'] },
  ],
};

export default config;
